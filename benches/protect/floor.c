/* The least that giving each file of a list one more name can cost: one lstat(2), one linkat(2).
 *
 * floor LIST STORE: LIST has one absolute path a line; STORE is a directory, and each link in it is called by the number
 * of its inode. Says how many there are. It plans nothing, checks nothing and writes nothing down.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "floor LIST STORE");
	FILE *list = fopen(argv[1], "r");
	if (!list)
		err(1, "%s", argv[1]);
	int store = open(argv[2], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (store < 0)
		err(1, "%s", argv[2]);

	char *path = NULL;
	size_t size = 0;
	ssize_t length;
	unsigned long links = 0;
	while ((length = getline(&path, &size, list)) > 0) {
		path[length - 1] = '\0';
		struct stat found;
		char number[24];
		if (lstat(path, &found))
			err(1, "%s", path);
		snprintf(number, sizeof number, "%llu", (unsigned long long)found.st_ino);
		if (linkat(AT_FDCWD, path, store, number, 0))
			err(1, "%s -> %s", path, number);
		links++;
	}
	if (ferror(list))
		err(1, "%s", argv[1]);
	printf("%lu\n", links);
	return 0;
}
