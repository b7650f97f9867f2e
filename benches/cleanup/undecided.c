/* Runs a command up to where it has decided: it is killed at its first unlinkat(2) of an alias, before that is done.
 *
 * undecided STORE COMMAND …: exit code 0 if it came to that; 1 if it ended without, or something went wrong.
 *
 * The kernel stops the command at each unlinkat(2) and asks here (seccomp_unotify(2)); it goes on at once if what is to go
 * is no entry of STORE whose name is a number. No other system call is asked about, so that they cost what they cost.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int ask_about_unlinkat(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unlinkat, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static int is_alias(const struct seccomp_notif *asked, const char *store)
{
	char link[64], directory[4096], first = 0;
	snprintf(link, sizeof link, "/proc/%u/fd/%d", asked->pid, (int)asked->data.args[0]);
	ssize_t size = readlink(link, directory, sizeof directory - 1);
	if (size < 0)
		return 0;
	directory[size] = '\0';
	struct iovec here = {&first, 1}, there = {(void *)asked->data.args[1], 1};
	return !strcmp(directory, store) && process_vm_readv(asked->pid, &here, 1, &there, 1, 0) == 1 && isdigit(first);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		errx(2, "undecided STORE COMMAND ...");
	int ready[2], listener;
	if (pipe2(ready, O_CLOEXEC))
		err(1, "pipe2");
	/* With one table of descriptors for both, the listener is here as well; the child's copy is closed by exec. */
	pid_t child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	if (child < 0)
		err(1, "clone");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		listener = ask_about_unlinkat();
		if (write(ready[1], &listener, sizeof listener) != sizeof listener || listener < 0)
			err(1, "seccomp");
		execv(argv[2], argv + 2);
		err(1, "%s", argv[2]);
	}
	if (read(ready[0], &listener, sizeof listener) != sizeof listener || listener < 0)
		errx(1, "no listener");
	for (;;) {
		struct pollfd listening = {listener, POLLIN, 0};
		struct seccomp_notif asked;
		memset(&asked, 0, sizeof asked);
		if (poll(&listening, 1, -1) < 0)
			err(1, "poll");
		if (!(listening.revents & POLLIN) || ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked))
			break;
		if (is_alias(&asked, argv[1])) {
			kill(child, SIGKILL);
			if (waitpid(child, NULL, 0) != child)
				err(1, "waitpid");
			return 0;
		}
		struct seccomp_notif_resp answer = {.id = asked.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) && errno != ENOENT)
			err(1, "cannot answer");
	}
	waitpid(child, NULL, 0);
	errx(1, "%s ended by itself", argv[2]);
}
