/* Containers that do a little: one process in each of the given cgroups, which faults in a page
 * and computes for some 50 microseconds each second, so that most counters of each change.
 *
 * Usage: busy < list (a line per container: the cgroup.procs files to join, with spaces between)
 * Prints "ready" when all have joined and ends when its standard output is closed (SIGPIPE) or
 * its parent dies.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static void live(char *line)
{
	for (char *path = strtok(line, " \n"); path; path = strtok(NULL, " \n")) {
		int fd = open(path, O_WRONLY);
		if (fd < 0 || write(fd, "0", 1) < 0) {
			perror(path);
			_exit(1);
		}
		close(fd);
	}
	for (volatile unsigned long n = 0;;) {
		char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		page[0] = 1;
		munmap(page, 4096);
		for (int i = 0; i < 50000; i++)
			n += i;
		usleep(1000000);
	}
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getline(&line, &size, stdin) > 0)
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			live(line);
		}
	sleep(1);
	printf("ready\n");
	fflush(stdout);
	pause();
}
