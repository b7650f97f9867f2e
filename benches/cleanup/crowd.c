/* Many processes, each like a small daemon: libraries mapped in four parts each, as ld.so(8) does, and a few descriptors.
 *
 * crowd COUNT LIST: LIST has the path of one library a line. Says its own number and "ready" when all are there; they end with it, and it
 * ends with its standard input.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

static void map(const char *path)
{
	static const int parts[4] = {PROT_READ, PROT_READ | PROT_EXEC, PROT_READ, PROT_READ | PROT_WRITE};
	size_t page = sysconf(_SC_PAGESIZE);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	char *room = mmap(NULL, 4 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (file < 0 || room == MAP_FAILED)
		err(1, "%s", path);
	for (int part = 0; part < 4; part++)
		if (mmap(room + part * page, page, parts[part], MAP_PRIVATE | MAP_FIXED, file, 0) == MAP_FAILED)
			err(1, "%s", path);
	close(file);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "crowd COUNT LIST");
	FILE *list = fopen(argv[2], "r");
	if (!list)
		err(1, "%s", argv[2]);
	char *path = NULL;
	size_t size = 0;
	for (ssize_t length; (length = getline(&path, &size, list)) > 0;) {
		path[length - 1] = '\0';
		map(path);
	}
	fclose(list);
	for (int number = 0; number < 9; number++)
		if (open("/dev/null", O_RDWR) < 0)
			err(1, "/dev/null");
	for (int count = atoi(argv[1]); count > 0; count--) {
		pid_t child = fork();
		if (child < 0)
			err(1, "fork");
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
	}
	printf("%d ready\n", getpid());
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
