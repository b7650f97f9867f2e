/* The least that looking at everything in use can cost: read every process's memory map, ask about each of its
 * descriptors once. It compares nothing with anything.
 *
 * floor: says how many processes, mappings and descriptors there were.
 * floor STORE: also asks about each entry of STORE once, and the kernel whether somebody has it, by a write lease: open,
 * F_SETLEASE, close. Says how many there were, and for how many the lease was refused.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char text[1 << 16];

static unsigned long mappings_of(int process)
{
	unsigned long lines = 0;
	int maps = openat(process, "maps", O_RDONLY | O_CLOEXEC);
	if (maps < 0)
		return 0;
	for (ssize_t size; (size = read(maps, text, sizeof text)) > 0;)
		for (const char *at = text; (at = memchr(at, '\n', text + size - at)); at++)
			lines++;
	close(maps);
	return lines;
}

static unsigned long descriptors_of(int process)
{
	unsigned long count = 0;
	int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		struct stat found;
		if (isdigit(entry->d_name[0]) && !fstatat(fd, entry->d_name, &found, 0))
			count++;
	}
	closedir(dir);
	return count;
}

static void look_at_processes(void)
{
	unsigned long processes = 0, mappings = 0, descriptors = 0;
	DIR *proc = opendir("/proc");
	if (!proc)
		err(1, "/proc");
	for (struct dirent *entry; (entry = readdir(proc));) {
		if (!isdigit(entry->d_name[0]))
			continue;
		int process = openat(dirfd(proc), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (process < 0)
			continue;
		processes++;
		mappings += mappings_of(process);
		descriptors += descriptors_of(process);
		close(process);
	}
	closedir(proc);
	printf("%lu processes, %lu mappings, %lu descriptors\n", processes, mappings, descriptors);
}

static void look_at_aliases(const char *store)
{
	unsigned long aliases = 0, refused = 0;
	DIR *dir = opendir(store);
	if (!dir)
		err(1, "%s", store);
	for (struct dirent *entry; (entry = readdir(dir));) {
		struct stat found;
		if (!isdigit(entry->d_name[0]))
			continue;
		if (fstatat(dirfd(dir), entry->d_name, &found, AT_SYMLINK_NOFOLLOW))
			err(1, "%s/%s", store, entry->d_name);
		int file = openat(dirfd(dir), entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (file < 0)
			err(1, "%s/%s", store, entry->d_name);
		if (fcntl(file, F_SETLEASE, F_WRLCK)) {
			if (errno != EAGAIN && errno != EBUSY)
				err(1, "a lease on %s/%s", store, entry->d_name);
			refused++;
		}
		close(file);
		aliases++;
	}
	closedir(dir);
	printf("%lu aliases, %lu held\n", aliases, refused);
}

int main(int argc, char **argv)
{
	if (argc > 2)
		errx(2, "floor [STORE]");
	look_at_processes();
	if (argc > 1)
		look_at_aliases(argv[1]);
	return 0;
}
