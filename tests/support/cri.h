// The image service of a real containerd as the kubelet calls it: CRI over gRPC, sent with curl's HTTP/2.
#pragma once

#include <string>

namespace layerd::test {

// What an imagePullSecret becomes: the kubelet fills in name and password and never a server address.
struct PullSecret {
  std::string username = {}, password = {};
  std::string identity_token = {};
};

struct CriAnswer {
  int status = -1;      // of gRPC; 0: done; -1: no answer
  std::string message;  // of gRPC, when it failed
  std::string image;    // reference of the pulled image
};

// runtime.v1.ImageService/PullImage at the socket.
CriAnswer cri_pull(const std::string& socket, const std::string& image, const PullSecret& secret = {});

}  // namespace layerd::test
