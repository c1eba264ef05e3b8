/*
 * run.c - children: this program, executed again in the environment of a system.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "count.h"
#include "run.h"

/* Nothing that a child is asked for takes this long: it hangs. */
#define PATIENCE_MS (5 * 60 * 1000)

void pool_path(char *path, const char *folder, unsigned system, const char *what)
{
	snprintf(path, PATH_LENGTH, "%.200s/%s.%s", folder, systems[system]->name, what);
}

/* compare-count.so beside this program, and the system's malloc. */
static void preload_list(const struct job *job, char *list, size_t room)
{
	const char *preload = systems[job->system]->preload;
	char self[PATH_MAX] = "";
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash = n > 0 ? strrchr(self, '/') : NULL;

	if (slash)
		*slash = 0;
	if (job->count)
		snprintf(list, room, "%s/%s%s%s", self, COMPARE_COUNT_LIBRARY, preload ? ":" : "",
			 preload ? preload : "");
	else
		snprintf(list, room, "%s", preload ? preload : "");
}

static void execute_again(const struct job *job, int orders, int answers)
{
	char list[PATH_MAX + 64];

	dup2(orders, STDIN_FILENO);
	dup2(answers, STDOUT_FILENO);
	preload_list(job, list, sizeof(list));
	if (*list)
		setenv("LD_PRELOAD", list, 1);
	else
		unsetenv("LD_PRELOAD");
	setenv("PMEM_IS_PMEM_FORCE", "1", 1);
	execl("/proc/self/exe", "compare", "--child", (char *)NULL);
	perror("compare: cannot execute itself");
	_exit(1);
}

static bool spawn(struct child *child, const struct job *job)
{
	int orders[2], answers[2];

	*child = (struct child){.system = job->system};
	if (pipe2(orders, O_CLOEXEC) || pipe2(answers, O_CLOEXEC))
		return false;
	fflush(NULL);
	child->pid = fork();
	if (child->pid == 0)
		execute_again(job, orders[0], answers[1]);
	close(orders[0]);
	close(answers[1]);
	child->orders = orders[1];
	child->answers = answers[0];
	return child->pid > 0 && write(child->orders, job, sizeof(*job)) == sizeof(*job);
}

static bool read_all(int fd, void *to, size_t length)
{
	while (length) {
		ssize_t n = read(fd, to, length);

		if (n <= 0)
			return false;
		to = (char *)to + n;
		length -= (size_t)n;
	}
	return true;
}

bool child_answer(struct child *child, struct reply *reply)
{
	struct pollfd poll_answers = {.fd = child->answers, .events = POLLIN};

	if (poll(&poll_answers, 1, PATIENCE_MS) == 0)
		fprintf(stderr, "compare: %s does not answer and is stopped\n",
			systems[child->system]->name);
	else if (read_all(child->answers, reply, sizeof(*reply)))
		return true;
	child_stop(child);
	return false;
}

bool child_start(struct child *child, const struct job *job)
{
	if (spawn(child, job))
		return child_answer(child, &child->ready);
	child_stop(child);
	return false;
}

bool child_order(struct child *child)
{
	return write(child->orders, "r", 1) == 1;
}

void child_stop(struct child *child)
{
	if (child->pid <= 0)
		return;
	close(child->orders);
	close(child->answers);
	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
	child->pid = 0;
}

bool child_alone(const struct job *job, bool killed)
{
	struct child child;
	struct reply reply;
	int status = 0;

	if (!child_start(&child, job))
		return false;
	if (child.ready.missing) {
		child_stop(&child);
		return true;
	}
	child_order(&child);
	if (!killed) {
		bool done = child_answer(&child, &reply);

		child_stop(&child);
		return done;
	}
	waitpid(child.pid, &status, 0);
	close(child.orders);
	close(child.answers);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* ---- files --------------------------------------------------------------------------- */

static bool copy_run(int in, int out, off_t from, off_t to)
{
	while (from < to) {
		off_t at = from;
		ssize_t n = copy_file_range(in, &at, out, &from, (size_t)(to - from), 0);

		if (n <= 0)
			return false;
	}
	return true;
}

bool copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	off_t data = 0, hole;
	struct stat st;
	bool ok = in >= 0 && out >= 0 && !fstat(in, &st) && !ftruncate(out, st.st_size);

	while (ok && (data = lseek(in, data, SEEK_DATA)) >= 0) {
		hole = lseek(in, data, SEEK_HOLE);
		ok = copy_run(in, out, data, hole);
		data = hole;
	}
	ok = ok && errno == ENXIO;
	if (!ok)
		fprintf(stderr, "compare: cannot copy %s: %s\n", from, strerror(errno));
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return ok;
}
