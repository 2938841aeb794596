/* Makes system calls on files below one directory fail, to see what a program does then.
 *
 *   cc -shared -fPIC -O1 -o faults.so faults.c -ldl
 *   FAULT_DIR=/tmp/x FAULT_CALL=write FAULT_AT=17 FAULT_ERRNO=28 LD_PRELOAD=./faults.so program
 *
 * The FAULT_AT-th such call and all later ones fail (a full disk stays full). FAULT_CALL is write,
 * read, fsync (with fdatasync) or rename. FAULT_ERRNO=kill kills the program there. With FAULT_COUNT=file, nothing fails and the number of
 * calls is written to that file at the end.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static int below(const char *path) {
    const char *dir = getenv("FAULT_DIR");
    return dir && strncmp(path, dir, strlen(dir)) == 0;
}

static int file_below(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return below(path);
}

static int fails(const char *call) {
    const char *wanted = getenv("FAULT_CALL");
    if (!wanted || strcmp(wanted, call) != 0) return 0;
    long number = atomic_fetch_add(&calls, 1) + 1;
    const char *at = getenv("FAULT_AT");
    if (getenv("FAULT_COUNT") || !at || number < atol(at)) return 0;
    const char *number_or_kill = getenv("FAULT_ERRNO");
    if (strcmp(number_or_kill, "kill") == 0) kill(getpid(), SIGKILL);
    errno = atoi(number_or_kill);
    return 1;
}

__attribute__((destructor)) static void count(void) {
    const char *path = getenv("FAULT_COUNT");
    if (!path) return;
    FILE *file = fopen(path, "w");
    if (!file) return;
    fprintf(file, "%ld\n", atomic_load(&calls));
    fclose(file);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) {
    if (file_below(fd) && fails("write")) return -1;
    return REAL(write)(fd, data, size);
}

ssize_t read(int fd, void *data, size_t size) {
    if (file_below(fd) && fails("read")) return -1;
    return REAL(read)(fd, data, size);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t at) {
    if (file_below(fd) && fails("read")) return -1;
    return REAL(pread64)(fd, data, size, at);
}

int fsync(int fd) {
    if (file_below(fd) && fails("fsync")) return -1;
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    if (file_below(fd) && fails("fsync")) return -1;
    return REAL(fdatasync)(fd);
}

int rename(const char *from, const char *to) {
    if ((below(from) || below(to)) && fails("rename")) return -1;
    return REAL(rename)(from, to);
}
