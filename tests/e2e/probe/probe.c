/* What a program in a container can see and do: one line for each thing, `name: value`. Static; run by tests/e2e/probe.rs under
   several engines. "no" is what one wants to read. With a second argument it is an attacker on the network instead. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static char list[4096];
static int count;

static void begin(void) { list[0] = 0; count = 0; }

static void add(const char *name) {
  count++;
  if (strlen(list) + strlen(name) + 2 < sizeof list) { strcat(list, list[0] ? " " : ""); strcat(list, name); }
}

static void end(const char *what) { printf("%s: %s\n", what, count ? list : "no"); }

static void field(const char *what, const char *name) {
  char line[256];
  FILE *f = fopen("/proc/self/status", "r");
  while (f && fgets(line, sizeof line, f))
    if (!strncmp(line, name, strlen(name))) printf("%s:%s", what, strchr(line, ':') + 1);
  if (f) fclose(f);
}

/* Files below a directory that can be opened for writing. */
static void writable(const char *dir, int depth) {
  DIR *d = opendir(dir);
  struct dirent *e;
  while (d && (e = readdir(d))) {
    char path[1024];
    struct stat s;
    if (e->d_name[0] == '.' || (!strcmp(dir, "/proc") && (e->d_name[0] <= '9' || strstr(e->d_name, "self")))) continue;
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    if (lstat(path, &s)) continue;
    if (S_ISDIR(s.st_mode) && depth < 12) writable(path, depth + 1);
    if (!S_ISREG(s.st_mode)) continue;
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) { add(path); close(fd); }
  }
  if (d) closedir(d);
}

static int filled(const char *path) {
  char c[64];
  DIR *d = opendir(path);
  if (d) {
    int n = 0;
    while (readdir(d)) n++;
    closedir(d);
    return n > 2;
  }
  int fd = open(path, O_RDONLY | O_NONBLOCK);
  int n = fd < 0 ? 0 : read(fd, c, sizeof c);
  if (fd >= 0) close(fd);
  return n > 0;
}

static void readable(void) {
  static const char *paths[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/timer_stats", "/proc/latency_stats", "/proc/sched_debug",
    "/proc/acpi", "/proc/scsi", "/proc/asound", "/proc/kmsg", "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/kernel/debug",
    "/sys/kernel/security", "/sys/kernel/tracing", "/sys/fs/bpf", "/proc/vmallocinfo", "/proc/pagetypeinfo", "/proc/slabinfo"};
  begin();
  for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) if (filled(paths[i])) add(paths[i]);
  end("secrets of the kernel");
  begin();
  if (filled("/proc/interrupts")) add("/proc/interrupts");
  if (filled("/sys/devices/system/cpu/cpu0/thermal_throttle")) add("thermal_throttle");
  end("timing of the host");
}

/* Files that are nobody's but root's to read (0400), and open. */
static void closed(const char *dir, int depth) {
  DIR *d = opendir(dir);
  struct dirent *e;
  while (d && (e = readdir(d))) {
    char path[1024];
    struct stat s;
    if (e->d_name[0] == '.' || (!strcmp(dir, "/proc") && (e->d_name[0] <= '9' || strstr(e->d_name, "self") || !strcmp(e->d_name, "net")))) continue;
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    if (lstat(path, &s)) continue;
    if (S_ISDIR(s.st_mode) && depth < 6) closed(path, depth + 1);
    if (!S_ISREG(s.st_mode) || s.st_mode & 044 || !(s.st_mode & 0400)) continue;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) { add(path); close(fd); }
  }
  if (d) closedir(d);
}

/* What tells one machine from another, or what goes on there. */
static void machine(void) {
  static const struct { const char *name, *path; } known[] = {{"command line", "/proc/cmdline"}, {"boot_id", "/proc/sys/kernel/random/boot_id"},
    {"load", "/proc/loadavg"}, {"disks", "/proc/diskstats"}, {"core_pattern", "/proc/sys/kernel/core_pattern"},
    {"serial number", "/sys/class/dmi/id/product_serial"}, {"uuid", "/sys/class/dmi/id/product_uuid"}};
  begin();
  for (unsigned i = 0; i < sizeof known / sizeof *known; i++) if (filled(known[i].path)) add(known[i].name);
  end("of the machine");
  char line[8192];
  int layers = 0, mounts = 0;
  FILE *f = fopen("/proc/self/mountinfo", "r");
  while (f && fgets(line, sizeof line, f)) {
    char root[4096] = "", place[4096] = "";
    sscanf(line, "%*s %*s %*s %4095s %4095s", root, place);
    layers |= strstr(line, "upperdir=") != 0;
    mounts |= (!strcmp(place, "/etc/hosts") || !strcmp(place, "/etc/hostname")) && strcmp(root, "/");
  }
  if (f) fclose(f);
  begin();
  if (layers) add("layers");
  if (mounts) add("mounts");
  end("paths of the host");
}

/* Messages of the kernel's about devices of the host. Somebody there makes one of them speak all the time. */
static void uevents(void) {
  struct sockaddr_nl from = {.nl_family = AF_NETLINK, .nl_groups = 1};
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  begin();
  if (fd >= 0 && !bind(fd, (struct sockaddr *)&from, sizeof from) && poll(&wait, 1, 1000) > 0) add("yes");
  if (fd >= 0) close(fd);
  end("hears of the host's devices");
}

static void devices(void) {
  DIR *d = opendir("/dev");
  struct dirent *e;
  begin();
  while (d && (e = readdir(d))) {
    char path[300];
    struct stat s;
    snprintf(path, sizeof path, "/dev/%s", e->d_name);
    static const char *usual[] = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"};
    int known = 0;
    for (unsigned i = 0; i < 8; i++) known |= !strcmp(e->d_name, usual[i]);
    if (!known && !lstat(path, &s) && (S_ISCHR(s.st_mode) || S_ISBLK(s.st_mode))) add(e->d_name);
  }
  end("unusual devices");
  static const struct { const char *name; int mode, major, minor; } made[] = {
    {"mem", S_IFCHR, 1, 1}, {"kmsg", S_IFCHR, 1, 11}, {"port", S_IFCHR, 1, 4}, {"loop0", S_IFBLK, 7, 0}, {"vda", S_IFBLK, 254, 0},
    {"sda", S_IFBLK, 8, 0}, {"fuse", S_IFCHR, 10, 229}, {"tun", S_IFCHR, 10, 200}, {"kvm", S_IFCHR, 10, 232}, {"vsock", S_IFCHR, 10, 121}};
  begin();
  for (unsigned i = 0; i < sizeof made / sizeof *made; i++) {
    if (mknod("/tmp/node", made[i].mode | 0600, makedev(made[i].major, made[i].minor))) continue;
    int fd = open("/tmp/node", O_RDONLY | O_NONBLOCK);
    /* Nobody answers at the number: the way there was open all the same. */
    if (fd >= 0 || (errno != EPERM && errno != EACCES)) add(made[i].name);
    if (fd >= 0) close(fd);
    unlink("/tmp/node");
  }
  end("devices that it makes");
}

static void descriptors(void) {
  begin();
  for (int fd = 3; fd < 256; fd++) {
    char name[12];
    snprintf(name, sizeof name, "%d", fd);
    if (fcntl(fd, F_GETFD) >= 0) add(name);
  }
  end("inherited descriptors");
}

static void sockets(void) {
  char line[512];
  FILE *f = fopen("/proc/net/unix", "r");
  begin();
  while (f && fgets(line, sizeof line, f)) if (strstr(line, " @")) add(strstr(line, " @") + 1);
  if (f) fclose(f);
  end("abstract sockets");
  static const char *paths[] = {"/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
    "/run/systemd/private", "/run/dbus/system_bus_socket", "/run/corten"};
  begin();
  for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) if (!access(paths[i], F_OK)) add(paths[i]);
  end("sockets of the host");
}

static void groups(void) {
  FILE *p = fopen("/proc/self/mountinfo", "r");
  char line[4096], path[2048];
  begin();
  while (p && fgets(line, sizeof line, p)) {
    if (!strstr(line, " - cgroup") || sscanf(line, "%*s %*s %*s %*s %1000s", path) != 1) continue;
    char made[2100];
    snprintf(made, sizeof made, "%s/made", path);
    if (!mkdir(made, 0700)) { add(path); rmdir(made); }
    snprintf(made, sizeof made, "%s/release_agent", path);
    int fd = open(made, O_WRONLY);
    if (fd >= 0) { add(made); close(fd); }
  }
  if (p) fclose(p);
  mkdir("/tmp/cg", 0700);
  static const char *kinds[] = {"memory", "cpu", "pids", "devices", "freezer", "cpuset", "blkio"};
  for (unsigned i = 0; i < 7; i++) if (!mount("c", "/tmp/cg", "cgroup", 0, kinds[i])) { add(kinds[i]); umount("/tmp/cg"); }
  if (!mount("c", "/tmp/cg", "cgroup2", 0, 0)) { add("cgroup2"); umount("/tmp/cg"); }
  end("control groups and release_agent");
}

static void call(const char *name, long answer) {
  if (answer >= 0 || (errno != EPERM && errno != ENOSYS && errno != EACCES && errno != EAFNOSUPPORT)) add(name);
}
#define TRY(name, ...) (errno = 0, call(#name, syscall(SYS_##name, __VA_ARGS__)))

/* Arguments that cannot succeed: a call that is open fails for another reason than its being closed. */
static void calls(void) {
  void *bad = (void *)8;
  begin();
  TRY(io_uring_setup, 1, bad); TRY(bpf, 5, bad, 8); TRY(userfaultfd, ~0); TRY(perf_event_open, bad, 0, -1, -1, 0);
  TRY(keyctl, 0, -3, 0); TRY(add_key, bad, bad, bad, 1, -3); TRY(request_key, bad, bad, 0, -3); TRY(kexec_load, 0, 0xffff, bad, 0);
  TRY(init_module, bad, 1, bad); TRY(finit_module, -1, bad, 0); TRY(delete_module, bad, 0); TRY(mount, bad, bad, bad, 0, 0);
  TRY(pivot_root, bad, bad); TRY(setns, -1, 0); TRY(open_by_handle_at, -1, bad, 0); TRY(fsopen, bad, 0); TRY(open_tree, -1, bad, 0);
  TRY(move_mount, -1, bad, -1, bad, 0); TRY(mount_setattr, -1, bad, 0, bad, 0); TRY(swapon, bad, 0); TRY(acct, bad);
  TRY(quotactl, 0, bad, 0, bad); TRY(settimeofday, bad, 0); TRY(clock_settime, 0, bad); TRY(lookup_dcookie, 0, bad, 1);
  TRY(move_pages, 1, 1, bad, bad, bad, 0); TRY(fanotify_init, ~0, 0); TRY(iopl, 3); TRY(ioperm, 0, 1, 1); TRY(vhangup, 0);
  TRY(nfsservctl, 0, bad, bad); TRY(uselib, bad); TRY(ustat, 0, bad); TRY(sysfs, 1, bad); TRY(personality, 0xdead0000);
  TRY(name_to_handle_at, -1, bad, bad, bad, 0); TRY(syslog, 10, 0, 0);
  errno = 0; call("unshare(user)", unshare(CLONE_NEWUSER));
  end("system calls");
  begin();
  errno = 0; call("AF_ALG", socket(AF_ALG, SOCK_SEQPACKET, 0));
  errno = 0; call("AF_VSOCK", socket(AF_VSOCK, SOCK_STREAM, 0));
  end("families of sockets");
  begin();
  errno = 0; call("getpid", syscall(0x40000000 | 39));
  errno = 0; call("ioctl", syscall(0x40000000 | 514, 0, 0, 0));
  end("numbers of x32");
  begin();
  errno = 0; call("syslog", syscall(SYS_syslog, 3, list, 1));
  int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
  if (fd >= 0) { add("/dev/kmsg"); close(fd); }
  end("dmesg");
}

static int hexmac(const char *text, unsigned char *mac) {
  return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) == 6;
}

/* `probe arp ADDRESS`: tells everybody on the link that the address is here. `probe ra`: is a router. */
static int attack(const char *kind, const char *address) {
  unsigned char mac[6], frame[128] = {0};
  char text[32] = {0};
  FILE *f = fopen("/sys/class/net/eth0/address", "r");
  if (!f || !fgets(text, sizeof text, f) || !hexmac(text, mac)) return 2;
  int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)), length;
  if (fd < 0) { printf("no packets: %s\n", strerror(errno)); return 0; }
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex("eth0"), .sll_halen = 6};
  memcpy(frame + 6, mac, 6);
  if (!strcmp(kind, "arp")) {
    static const unsigned char head[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 2};
    memset(frame, 255, 6);
    memcpy(frame + 12, head, 10);
    memcpy(frame + 22, mac, 6);
    inet_pton(AF_INET, address, frame + 28);
    memset(frame + 32, 255, 6);
    inet_pton(AF_INET, address, frame + 38);
    length = 42;
  } else {
    /* From fe80::1 to ff02::1, a lifetime of 1800 s, no options; the checksum of just this. */
    static const unsigned char ip[] = {0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 58, 255};
    static const unsigned char to6[] = {0x33, 0x33, 0, 0, 0, 1};
    memcpy(frame, to6, 6);
    memcpy(frame + 12, ip, 10);
    frame[22] = 0xfe; frame[23] = 0x80; frame[37] = 1;
    frame[38] = 0xff; frame[39] = 2; frame[53] = 1;
    frame[54] = 134; frame[58] = 64; frame[60] = 7; frame[61] = 8;
    unsigned sum = 58 + 16;
    for (int i = 22; i < 70; i += 2) sum += frame[i] << 8 | frame[i + 1];
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    frame[56] = ~sum >> 8; frame[57] = ~sum;
    length = 70;
  }
  memcpy(to.sll_addr, frame, 6);
  for (int i = 0; i < 40; i++) {
    if (sendto(fd, frame, length, 0, (struct sockaddr *)&to, sizeof to) < 0) printf("not sent: %s\n", strerror(errno));
    usleep(50000);
  }
  printf("sent\n");
  return 0;
}

/* `probe listen`: whether packets come by here that are for somebody else, until some come that are for us. */
static int listening(void) {
  unsigned char mac[6], frame[2048];
  char text[32] = {0};
  FILE *f = fopen("/sys/class/net/eth0/address", "r");
  if (!f || !fgets(text, sizeof text, f) || !hexmac(text, mac)) return 2;
  int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)), own = 0, others = 0;
  if (fd < 0) { printf("no packets: %s\n", strerror(errno)); return 0; }
  struct packet_mreq all = {.mr_ifindex = if_nametoindex("eth0"), .mr_type = PACKET_MR_PROMISC};
  setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all);
  printf("listening\n");
  fflush(stdout);
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  for (time_t end = time(0) + 60; !own && time(0) < end;) {
    if (poll(&wait, 1, 100) <= 0 || recv(fd, frame, sizeof frame, 0) < 34 || frame[0] & 1) continue;
    if (!memcmp(frame, mac, 6) || !memcmp(frame + 6, mac, 6)) own++;
    else if (frame[12] == 8 && frame[13] == 0) others++;
  }
  printf("own %s, others' %s\n", own ? "yes" : "no", others ? "yes" : "no");
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "listen")) return listening();
  if (argc > 1) return attack(argv[1], argc > 2 ? argv[2] : "");
  unsigned id[3];
  descriptors();
  field("capabilities", "CapEff");
  field("inheritable", "CapInh");
  field("ambient", "CapAmb");
  field("filter", "Seccomp:");
  FILE *map = fopen("/proc/self/uid_map", "r");
  if (map && fscanf(map, "%u %u %u", id, id + 1, id + 2) == 3) printf("root is the host's: %s\n", id[1] ? "no" : "yes");
  begin(); writable("/proc", 0); end("writable in /proc");
  begin(); writable("/sys", 0); end("writable in /sys");
  readable();
  begin(); closed("/proc", 0); closed("/sys", 0); end("read by root alone");
  machine();
  uevents();
  devices();
  sockets();
  groups();
  calls();
  return 0;
}
