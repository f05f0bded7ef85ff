#!/usr/bin/env python3
"""A listening socket that outlives the program that serves it, as systemd's layerd.socket does.

    held.py ADDRESS PORT COMMAND...

COMMAND gets the socket as systemd passes it. SIGUSR1 kills it with SIGKILL and starts it again; SIGTERM ends both."""
import os
import signal
import socket
import sys


def begin(listener, command):
    child = os.fork()
    if child == 0:
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if listener.fileno() == 3:
            os.set_inheritable(3, True)
        else:
            os.dup2(listener.fileno(), 3)
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
        os.execvp(command[0], command)
    return child


def main():
    address, port, *command = sys.argv[1:]
    wanted = (signal.SIGUSR1, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    listener = socket.create_server((address, int(port)), backlog=256)
    while True:
        child = begin(listener, command)
        got = signal.sigwait(wanted)
        os.kill(child, signal.SIGKILL if got == signal.SIGUSR1 else signal.SIGTERM)
        status = os.waitpid(child, 0)[1]
        if got == signal.SIGTERM:
            sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
