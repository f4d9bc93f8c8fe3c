/* Fills containers with processes that wait: for each line of stdin, a list of cgroup.procs
 * files, one that joins those cgroups and namespaces of its own, and `argv[1]` - 1 children of
 * it. Says "ready" when all are there; all end with this program. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static void join(char *files)
{
	for (char *file = strtok(files, " \n"); file; file = strtok(NULL, " \n")) {
		FILE *procs = fopen(file, "w");
		if (!procs || fprintf(procs, "%d\n", getpid()) < 0 || fclose(procs)) {
			perror(file);
			exit(1);
		}
	}
}

int main(int argc, char **argv)
{
	int each = argc > 1 ? atoi(argv[1]) : 1, ready[2];
	char line[65536], byte;
	int containers = 0;

	if (pipe(ready))
		return 1;
	while (fgets(line, sizeof line, stdin)) {
		containers++;
		if (fork())
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		join(line);
		if (unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNS)) {
			perror("unshare");
			exit(1);
		}
		for (int n = 1; n < each; n++)
			if (!fork()) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				pause();
			}
		if (write(ready[1], "x", 1) != 1)
			exit(1);
		pause();
	}
	for (int n = 0; n < containers; n++)
		if (read(ready[0], &byte, 1) != 1)
			return 1;
	puts("ready");
	fflush(stdout);
	pause();
}
