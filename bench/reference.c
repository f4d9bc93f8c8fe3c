/* The two references that a scrape is measured against, over the same files:
 *
 *   cat    opens, reads and closes each file
 *   floor  reads each file again through a descriptor that is held open
 *
 * Usage: reference cat|floor PASSES < list-of-paths
 * Prints the CPU microseconds (user and system) of each pass, a line each.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static char buffer[65536];

static long cpu_microseconds(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L +
	       usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	int hold = !strcmp(argv[1], "floor"), passes = atoi(argv[2]);
	size_t count = 0, room = 1024;
	char **paths = malloc(room * sizeof *paths), *line = NULL;
	size_t size = 0;
	ssize_t length;
	while ((length = getline(&line, &size, stdin)) > 0) {
		line[strcspn(line, "\n")] = 0;
		if (count == room)
			paths = realloc(paths, (room *= 2) * sizeof *paths);
		paths[count++] = strdup(line);
	}
	int *fds = calloc(count, sizeof *fds);
	for (size_t i = 0; hold && i < count; i++)
		if ((fds[i] = open(paths[i], O_RDONLY | O_CLOEXEC)) < 0) {
			perror(paths[i]);
			return 1;
		}
	for (int pass = 0; pass < passes; pass++) {
		long before = cpu_microseconds();
		for (size_t i = 0; i < count; i++) {
			if (hold) {
				if (pread(fds[i], buffer, sizeof buffer, 0) < 0)
					return 1;
				continue;
			}
			int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
			if (fd < 0 || read(fd, buffer, sizeof buffer) < 0)
				return 1;
			close(fd);
		}
		printf("%ld\n", cpu_microseconds() - before);
	}
	return 0;
}
