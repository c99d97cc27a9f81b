// Writes the seccomp filter of a process, as the kernel has it, to standard output: its instructions, 8 bytes each. See ptrace(2).
#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

int main(int count, char **words) {
    if (count != 2) return 2;
    pid_t pid = atoi(words[1]);
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) || ptrace(PTRACE_INTERRUPT, pid, 0, 0) || waitpid(pid, 0, __WALL) != pid) {
        perror("cannot trace it");
        return 1;
    }
    long length = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, 0);
    struct sock_filter *filter = length > 0 ? calloc(length, sizeof *filter) : 0;
    if (!filter || ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, filter) != length) {
        perror("cannot read its filter");
        return 1;
    }
    return fwrite(filter, sizeof *filter, length, stdout) == (size_t)length ? 0 : 1;
}
