/* Takes as many descriptors as it gets: `hoard PROCESSES`. Each opens files, pipes and sockets until it is refused; then the first one
   connects to the name server, as often as there is a descriptor for it. Static; run by tests/e2e/attacks.rs. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int hoard(int leave) {
  int count = 0, pair[2];
  for (;; count++) {
    int done = count % 3 == 0   ? open("/dev/null", O_RDONLY)
               : count % 3 == 1 ? socket(AF_UNIX, SOCK_STREAM, 0)
                                : pipe(pair);
    if (done < 0) break;
  }
  for (int fd = 3; fd < 3 + leave; fd++) close(fd);
  return errno == EMFILE || errno == ENFILE ? count : -1;
}

int main(int argc, char **argv) {
  int processes = argc > 1 ? atoi(argv[1]) : 1, connected = 0;
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  for (int i = 1; i < processes; i++)
    if (!fork()) { hoard(0); pause(); _exit(0); }
  if (hoard(500) < 0) { perror("refused"); return 1; }
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
  inet_pton(AF_INET, "127.0.0.11", &to.sin_addr);
  for (int i = 0; i < 500; i++) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) break;
    if (!connect(fd, (struct sockaddr *)&to, sizeof to) || errno == EINPROGRESS) connected++;
  }
  printf("all taken, %s\n", connected ? "connected" : "not connected");
  fflush(stdout);
  pause();
  return 0;
}
