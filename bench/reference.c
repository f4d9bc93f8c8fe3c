/* The two references that a scrape is measured against, over the same files:
 *
 *   cat    opens, reads and closes each file
 *   floor  reads each file again through a descriptor that is held open
 *
 * Usage: reference cat|floor LIST
 * For each line of standard input makes a pass over the files in LIST, a path a line, and prints
 * the CPU microseconds (user and system) that it took.
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
	FILE *list;
	if (argc != 3 || !(list = fopen(argv[2], "r")))
		return 2;
	int hold = !strcmp(argv[1], "floor");
	size_t count = 0, room = 1024;
	char **paths = malloc(room * sizeof *paths), *line = NULL;
	size_t size = 0;
	ssize_t length;
	while ((length = getline(&line, &size, list)) > 0) {
		line[strcspn(line, "\n")] = 0;
		if (count == room)
			paths = realloc(paths, (room *= 2) * sizeof *paths);
		paths[count++] = strdup(line);
	}
	fclose(list);
	int *fds = calloc(count, sizeof *fds);
	for (size_t i = 0; hold && i < count; i++)
		if ((fds[i] = open(paths[i], O_RDONLY | O_CLOEXEC)) < 0) {
			perror(paths[i]);
			return 1;
		}
	while (getline(&line, &size, stdin) > 0) {
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
		fflush(stdout);
	}
	return 0;
}
