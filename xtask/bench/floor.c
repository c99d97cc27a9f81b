/* The floor: what one container of ours asks of the kernel, and nothing else around it. No engine that makes the same
 * container by the same kernel can be faster than this program by much; the benchmark measures engines against it.
 *
 *   floor -n RUNS -l LOWER -w WORK [-b BRIDGE] [-u CGROUP2]
 *
 * Each run: cgroups, upper directory, clone3 with all eight kinds of namespace, id maps, layers idmapped, overlay, /proc
 * /sys /dev and the like, masks, pivot_root, capabilities, a seccomp filter, with -b a veth pair on BRIDGE with address
 * and route, execve of /bin/true in LOWER, wait, tear down. -u takes the cgroup v2 hierarchy that is mounted there, else
 * the v1 hierarchies below /sys/fs/cgroup. Prints a line for each run, microseconds, and at the end `cpu` and the mean
 * microseconds of processor time that a run took of this process and its children.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MNT_DETACH 2
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);

#define CK(x) do { if ((x) < 0) { fprintf(stderr, "floor: line %d: %s\n", __LINE__, strerror(errno)); exit(1); } } while (0)

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  CK(fd);
  CK(write(fd, text, strlen(text)));
  close(fd);
}

static void get(const char *path, char *text, int size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC), n;
  CK(fd);
  CK(n = read(fd, text, size - 1));
  text[n] = 0;
  close(fd);
}

/* ---- netlink: messages in one buffer, sent at once ---- */

struct batch { char bytes[2048]; int length, count; };

static struct nlmsghdr *begin(struct batch *b, int type, int flags, const void *head, int size) {
  struct nlmsghdr *h = (void *)(b->bytes + b->length);
  memset(h, 0, NLMSG_SPACE(size));
  h->nlmsg_type = type;
  h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
  h->nlmsg_seq = ++b->count;
  h->nlmsg_len = NLMSG_LENGTH(size);
  memcpy(NLMSG_DATA(h), head, size);
  return h;
}

static struct rtattr *attribute(struct nlmsghdr *h, int type, const void *data, int size) {
  struct rtattr *a = (void *)((char *)h + NLMSG_ALIGN(h->nlmsg_len));
  a->rta_type = type;
  a->rta_len = RTA_LENGTH(size);
  if (size) memcpy(RTA_DATA(a), data, size);
  h->nlmsg_len = NLMSG_ALIGN(h->nlmsg_len) + RTA_ALIGN(a->rta_len);
  return a;
}

static void close_nest(struct nlmsghdr *h, struct rtattr *a) { a->rta_len = (char *)h + h->nlmsg_len - (char *)a; }
static void end(struct batch *b, struct nlmsghdr *h) { b->length += NLMSG_ALIGN(h->nlmsg_len); }

static void transmit(struct batch *b) {
  char reply[4096];
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), left = b->count;
  CK(fd);
  CK(send(fd, b->bytes, b->length, 0));
  while (left > 0) {
    int n = recv(fd, reply, sizeof reply, 0);
    CK(n);
    for (struct nlmsghdr *h = (void *)reply; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n), left--) {
      errno = -((struct nlmsgerr *)NLMSG_DATA(h))->error;
      if (errno) CK(-1);
    }
  }
  close(fd);
}

/* The pair in one message: this end up and on the bridge, the other as eth0 in the child's network namespace. */
static void veth(int run, int bridge, int pid) {
  static struct batch b;
  b.length = b.count = 0;
  char name[IFNAMSIZ];
  snprintf(name, sizeof name, "floor%d", run);
  struct ifinfomsg here = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP}, there = {0};
  struct nlmsghdr *h = begin(&b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &here, sizeof here);
  attribute(h, IFLA_IFNAME, name, strlen(name) + 1);
  attribute(h, IFLA_MASTER, &bridge, 4);
  struct rtattr *info = attribute(h, IFLA_LINKINFO, NULL, 0);
  attribute(h, IFLA_INFO_KIND, "veth", 5);
  struct rtattr *data = attribute(h, IFLA_INFO_DATA, NULL, 0), *peer = attribute(h, VETH_INFO_PEER, &there, sizeof there);
  attribute(h, IFLA_IFNAME, "eth0", 5);
  attribute(h, IFLA_NET_NS_PID, &pid, 4);
  close_nest(h, peer);
  close_nest(h, data);
  close_nest(h, info);
  end(&b, h);
  transmit(&b);
}

static void configure_links(int with_eth0) {
  static struct batch b;
  struct ifinfomsg lo = {.ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP}, eth0 = lo;
  end(&b, begin(&b, RTM_NEWLINK, 0, &lo, sizeof lo));
  if (with_eth0) {
    struct in_addr ip, gateway;
    int index = eth0.ifi_index = if_nametoindex("eth0");
    inet_pton(AF_INET, "10.213.0.2", &ip);
    inet_pton(AF_INET, "10.213.0.1", &gateway);
    struct ifaddrmsg address = {.ifa_family = AF_INET, .ifa_prefixlen = 16, .ifa_index = index};
    struct nlmsghdr *h = begin(&b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &address, sizeof address);
    attribute(h, IFA_LOCAL, &ip, 4);
    attribute(h, IFA_ADDRESS, &ip, 4);
    end(&b, h);
    end(&b, begin(&b, RTM_NEWLINK, 0, &eth0, sizeof eth0));
    struct rtmsg route = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC, .rtm_type = RTN_UNICAST};
    h = begin(&b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &route, sizeof route);
    attribute(h, RTA_GATEWAY, &gateway, 4);
    attribute(h, RTA_OIF, &index, 4);
    end(&b, h);
  }
  transmit(&b);
}

/* ---- cgroups ---- */

static const char *unified;
static const char *hierarchies[] = {"memory", "cpu", "pids", "cpuset", "devices", "freezer"};
enum { HIERARCHIES = sizeof hierarchies / sizeof *hierarchies };
static char cpus[256], mems[256];

static void cgroup_path(char *path, int i, const char *file) {
  if (unified) sprintf(path, "%s/floor-%d/%s", unified, getpid(), file);
  else sprintf(path, "/sys/fs/cgroup/%s/floor-%d/%s", hierarchies[i], getpid(), file);
}

static int make_cgroups(void) {
  char path[512];
  for (int i = 0; i < (unified ? 1 : HIERARCHIES); i++) {
    cgroup_path(path, i, "");
    CK(mkdir(path, 0755));
    if (unified || !strcmp(hierarchies[i], "pids")) { cgroup_path(path, i, "pids.max"); put(path, "2048"); }
    if (!unified && !strcmp(hierarchies[i], "cpuset")) {
      cgroup_path(path, i, "cpuset.cpus"); put(path, cpus);
      cgroup_path(path, i, "cpuset.mems"); put(path, mems);
    }
  }
  if (!unified) return -1;
  cgroup_path(path, 0, "");
  int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  CK(fd);
  return fd;
}

static void remove_cgroups(void) {
  char path[512];
  for (int i = 0; i < (unified ? 1 : HIERARCHIES); i++) {
    cgroup_path(path, i, "");
    for (int n = 0; rmdir(path) < 0; n++) { if (errno != EBUSY || n > 1000) CK(-1); usleep(100); }
  }
}

/* ---- the container ---- */

static const char *lower, *work;
static int bridge, ready[2], maps[2];

/* Layers and the writable directory, shown with the container's ids; made by the parent, with its rights. */
static void idmapped(const char *source, const char *at, int userns) {
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = userns};
  int tree = syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  CK(tree);
  CK(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr));
  CK(syscall(SYS_move_mount, tree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH));
  close(tree);
}

static void overlay(int pid, int home, const char *dir) {
  char path[64], l[300], u[300], m[300], options[1200];
  snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
  int userns = open(path, O_RDONLY | O_CLOEXEC);
  CK(userns);
  snprintf(path, sizeof path, "/proc/%d/ns/mnt", pid);
  int there = open(path, O_RDONLY | O_CLOEXEC);
  CK(there);
  CK(setns(there, CLONE_NEWNS));
  CK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
  snprintf(l, sizeof l, "%s/l", dir);
  snprintf(u, sizeof u, "%s/u", dir);
  snprintf(m, sizeof m, "%s/m", dir);
  idmapped(lower, l, userns);
  idmapped(u, u, userns);
  snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/u,workdir=%s/w", l, u, u);
  CK(mount("overlay", m, "overlay", 0, options));
  CK(setns(home, CLONE_NEWNS));
  close(there);
  close(userns);
}

static void masks(void) {
  static const char *masked[] = {"proc/acpi", "proc/asound", "proc/interrupts", "proc/kcore", "proc/keys", "proc/latency_stats",
    "proc/timer_list", "proc/timer_stats", "proc/sched_debug", "proc/scsi", "sys/firmware", "sys/devices/virtual/powercap"};
  static const char *fixed[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
  struct stat st;
  for (unsigned i = 0; i < sizeof masked / sizeof *masked; i++) {
    if (stat(masked[i], &st) < 0) continue;
    if (S_ISDIR(st.st_mode)) CK(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, "size=0k"));
    else CK(mount("dev/null", masked[i], NULL, MS_BIND, NULL));
  }
  for (unsigned i = 0; i < sizeof fixed / sizeof *fixed; i++) {
    if (mount(fixed[i], fixed[i], NULL, MS_BIND | MS_REC, NULL) < 0) continue;
    CK(mount(NULL, fixed[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
  }
}

static void file_systems(void) {
  static const char *devices[] = {"null", "zero", "full", "random", "urandom", "tty"};
  char from[32], to[32];
  CK(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
  CK(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL));
  CK(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k"));
  for (int i = 0; i < 6; i++) { /* no mknod in a user namespace: the host's devices are bound */
    snprintf(from, sizeof from, "/dev/%s", devices[i]);
    snprintf(to, sizeof to, "dev/%s", devices[i]);
    close(open(to, O_CREAT | O_WRONLY, 0666));
    CK(mount(from, to, NULL, MS_BIND, NULL));
  }
  CK(symlink("/proc/self/fd", "dev/fd"));
  CK(symlink("/proc/self/fd/0", "dev/stdin"));
  CK(symlink("/proc/self/fd/1", "dev/stdout"));
  CK(symlink("/proc/self/fd/2", "dev/stderr"));
  CK(symlink("pts/ptmx", "dev/ptmx"));
  CK(mkdir("dev/pts", 0755));
  CK(mkdir("dev/mqueue", 0755));
  CK(mkdir("dev/shm", 0755));
  CK(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
  CK(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
  CK(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k"));
}

/* As long as the engine's own filter, and letting everything pass. */
static void seccomp(void) {
  static struct sock_filter code[440];
  const int n = sizeof code / sizeof *code;
  code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
  for (int i = 1; i < n - 1; i++) code[i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 100000 + i, 0, 0);
  code[n - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {.len = n, .filter = code};
  CK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

static void child(const char *dir) {
  char m[300], byte;
  close(maps[1]); /* so that the child ends when the parent does */
  close(ready[1]);
  read(maps[0], &byte, 1);
  CK(setresgid(0, 0, 0));
  CK(setresuid(0, 0, 0));
  read(ready[0], &byte, 1);
  snprintf(m, sizeof m, "%s/m", dir);
  CK(chdir(m));
  umask(0);
  file_systems();
  masks();
  CK(syscall(SYS_pivot_root, ".", "."));
  CK(umount2(".", MNT_DETACH));
  CK(chdir("/"));
  configure_links(bridge);
  CK(sethostname("floor", 5));
  for (int c = 0; c <= CAP_LAST_CAP; c++) if (!(0xa80425fbUL >> c & 1)) prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
  CK(syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC));
  seccomp();
  char *argv[] = {"true", NULL}, *env[] = {"PATH=/bin", NULL};
  execve("/bin/true", argv, env);
  CK(-1);
}

static void one(int run, int home) {
  char dir[256], path[512], text[64];
  snprintf(dir, sizeof dir, "%s/%d", work, run);
  static const char *parts[] = {"", "/l", "/m", "/u", "/u/u", "/u/w"};
  int cgroup = make_cgroups();
  for (int i = 0; i < 6; i++) { snprintf(path, sizeof path, "%s%s", dir, parts[i]); CK(mkdir(path, 0755)); }
  CK(pipe2(ready, O_CLOEXEC));
  CK(pipe2(maps, O_CLOEXEC));
  struct clone_args args = {.exit_signal = SIGCHLD, .flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
    CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWTIME};
  if (unified) { args.flags |= CLONE_INTO_CGROUP; args.cgroup = cgroup; }
  pid_t pid = syscall(SYS_clone3, &args, sizeof args);
  CK(pid);
  if (!pid) { child(dir); }
  snprintf(text, sizeof text, "%d", pid);
  if (!unified) for (int i = 0; i < HIERARCHIES; i++) { cgroup_path(path, i, "cgroup.procs"); put(path, text); }
  snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
  put(path, "0 1000000 65536");
  snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
  put(path, "0 1000000 65536");
  CK(write(maps[1], "", 1));
  overlay(pid, home, dir);
  if (bridge) veth(run, bridge, pid);
  CK(write(ready[1], "", 1));
  int status;
  CK(waitpid(pid, &status, 0));
  if (status) { fprintf(stderr, "floor: the child ended with %x\n", status); exit(1); }
  remove_cgroups();
  if (cgroup >= 0) close(cgroup);
  for (int i = 0; i < 2; i++) { close(ready[i]); close(maps[i]); }
  snprintf(path, sizeof path, "%s/u/w/work", dir);
  rmdir(path);
  for (int i = 5; i >= 0; i--) { snprintf(path, sizeof path, "%s%s", dir, parts[i]); CK(rmdir(path)); }
}

static double spent(int who) {
  struct rusage r;
  getrusage(who, &r);
  return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1e6 + r.ru_utime.tv_usec + r.ru_stime.tv_usec;
}

int main(int argc, char **argv) {
  int option, runs = 10;
  const char *name = NULL;
  while ((option = getopt(argc, argv, "n:l:w:b:u:")) > 0) switch (option) {
    case 'n': runs = atoi(optarg); break;
    case 'l': lower = optarg; break;
    case 'w': work = optarg; break;
    case 'b': name = optarg; break;
    case 'u': unified = optarg; break;
    default: return 2;
  }
  if (!lower || !work) return 2;
  if (name && !(bridge = if_nametoindex(name))) CK(-1);
  if (!unified) { get("/sys/fs/cgroup/cpuset/cpuset.cpus", cpus, sizeof cpus); get("/sys/fs/cgroup/cpuset/cpuset.mems", mems, sizeof mems); }
  int home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  CK(home);
  CK(mkdir(work, 0755));
  double before = spent(RUSAGE_SELF) + spent(RUSAGE_CHILDREN);
  for (int run = 0; run < runs; run++) {
    double start = now();
    one(run, home);
    printf("%.0f\n", now() - start);
  }
  printf("cpu %.0f\n", (spent(RUSAGE_SELF) + spent(RUSAGE_CHILDREN) - before) / runs);
  return rmdir(work);
}
