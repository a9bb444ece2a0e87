/* Preloaded into a program of any runtime: writes down where the system's own functions are asked to connect or to send, and
   which names are looked up. One line each, "connect 127.0.0.1:80" or "lookup example.com", into the file $SMOLMIX_WIRES. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void tell(const char *kind, const char *what) {
  const char *path = getenv("SMOLMIX_WIRES");
  char line[600];
  int length = snprintf(line, sizeof line, "%s %s\n", kind, what);
  int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (file < 0 || length < 0 || (size_t)length >= sizeof line || write(file, line, length) != length) abort();
  close(file);
}

static void tell_place(const char *kind, const struct sockaddr *to) {
  char host[INET6_ADDRSTRLEN], place[INET6_ADDRSTRLEN + 10];
  if (!to || (to->sa_family != AF_INET && to->sa_family != AF_INET6)) return;
  int six = to->sa_family == AF_INET6;
  const void *address = six ? (const void *)&((const struct sockaddr_in6 *)to)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)to)->sin_addr;
  in_port_t port = six ? ((const struct sockaddr_in6 *)to)->sin6_port : ((const struct sockaddr_in *)to)->sin_port;
  inet_ntop(to->sa_family, address, host, sizeof host);
  snprintf(place, sizeof place, six ? "[%s]:%u" : "%s:%u", host, (unsigned)ntohs(port));
  tell(kind, place);
}

#define NATIVE(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int connect(int fd, const struct sockaddr *to, socklen_t length) {
  tell_place("connect", to);
  return NATIVE(connect)(fd, to, length);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length) {
  tell_place("send", to);
  return NATIVE(sendto)(fd, data, size, flags, to, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  tell_place("send", message->msg_name);
  return NATIVE(sendmsg)(fd, message, flags);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
  for (unsigned n = 0; n < count; n++) tell_place("send", messages[n].msg_hdr.msg_name);
  return NATIVE(sendmmsg)(fd, messages, count, flags);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
  if (node) tell("lookup", node);
  return NATIVE(getaddrinfo)(node, service, hints, result);
}
