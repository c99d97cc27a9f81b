/* Reads a filter in words from standard input and writes the BPF that libseccomp makes of it to standard output.
 *
 *   default ACTION            first line; actions are numbers as the kernel returns them
 *   arch NAME                 beside the native one
 *   rule ACTION NAME [ARG OP A B]...
 *
 * Names that this libseccomp does not know are written to standard error, one a line. */
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check(int result, const char *line)
{
	if (result < 0) {
		fprintf(stdout, "%s: %s", strerror(-result), line);
		exit(1);
	}
}

static enum scmp_compare operator(const char *word)
{
	static const char *words[] = { "", "ne", "lt", "le", "eq", "ge", "gt", "masked" };
	for (int i = 1; i < 8; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	exit(3);
}

int main(void)
{
	char line[1024], name[64], op[16];
	scmp_filter_ctx ctx = NULL;

	while (fgets(line, sizeof(line), stdin)) {
		uint32_t action;
		int used;

		if (sscanf(line, "default %u", &action) == 1) {
			ctx = seccomp_init(action);
			if (!ctx)
				exit(2);
			continue;
		}
		if (sscanf(line, "arch %63s", name) == 1) {
			check(seccomp_arch_add(ctx, seccomp_arch_resolve_name(name)), line);
			continue;
		}
		if (sscanf(line, "rule %u %63s%n", &action, name, &used) == 2) {
			struct scmp_arg_cmp args[6];
			unsigned count = 0;
			const char *rest = line + used;
			int number = seccomp_syscall_resolve_name(name);

			if (number == __NR_SCMP_ERROR) {
				fprintf(stderr, "%s\n", name);
				continue;
			}
			while (count < 6) {
				struct scmp_arg_cmp *arg = &args[count];
				unsigned long long a, b;

				if (sscanf(rest, " %u %15s %llu %llu%n", &arg->arg, op, &a, &b, &used) != 4)
					break;
				arg->op = operator(op);
				arg->datum_a = a;
				arg->datum_b = b;
				rest += used;
				count++;
			}
			check(seccomp_rule_add_array(ctx, action, number, count, args), line);
		}
	}
	check(seccomp_export_bpf(ctx, STDOUT_FILENO), "export");
	return 0;
}
