# `cmake --install build/release`: the binary, the units, the manual page.
include(GNUInstallDirs)
install(TARGETS layerd RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES systemd/layerd.service systemd/layerd.socket systemd/layerd-recover.service
  systemd/layerd-opener.socket systemd/layerd-opener.service DESTINATION lib/systemd/system)
install(FILES systemd/layerd.sysusers DESTINATION lib/sysusers.d RENAME layerd.conf)
install(FILES systemd/layerd.tmpfiles DESTINATION lib/tmpfiles.d RENAME layerd.conf)
install(FILES packaging/layerd.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
