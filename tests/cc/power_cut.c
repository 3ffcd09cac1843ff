// power_cut.c: remembers what is durable, for tests of power loss.
//
// Preloaded (LD_PRELOAD), it copies at each fsync what the disk would keep:
//
//   fsync, fdatasync of a file        its content
//   fsync of a directory              the names in it
//
// below POWER_CUT_DIRECTORY, into POWER_CUT_STORE. After the process was
// killed, tests/harness/power_cut.py puts the directory back to that state.
// Files are known by a mark, an extended attribute, so that names may change.
// Writes through O_SYNC, msync and sync count as lost.
//
//   POWER_CUT_SYNC_MILLISECONDS       how much longer each fsync takes
//   POWER_CUT_FAIL_SYNC               number of the fsync that fails with EIO

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define ID_BYTES 80
#define PATH_BYTES (2 * PATH_MAX)

static atomic_long num_syncs;
static atomic_long num_partial;
static atomic_long num_marks;
static const char kMark[] = "user.power_cut";

static int sync_of_system(int fd, int data_only) {
  return (int)syscall(data_only ? SYS_fdatasync : SYS_fsync, fd);
}

// The mark of a file, which all of its names share and no other file ever has.
static int identify(const char* path, char* id) {
  ssize_t length = getxattr(path, kMark, id, ID_BYTES - 1);
  if (length < 0) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    length = snprintf(id, ID_BYTES, "%d-%ld-%lld%09ld", (int)getpid(),
                      atomic_fetch_add(&num_marks, 1), (long long)now.tv_sec,
                      now.tv_nsec);
    if (setxattr(path, kMark, id, (size_t)length, XATTR_CREATE) != 0) {
      // Another thread may have been first.
      length = getxattr(path, kMark, id, ID_BYTES - 1);
      if (length < 0) return -1;
    }
  }
  id[length] = 0;
  return 0;
}

static int write_all(int to, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(to, data, size);
    if (written < 0) return -1;
    data += written;
    size -= (size_t)written;
  }
  return 0;
}

static int copy_content(int fd, int to) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const int from = open(path, O_RDONLY | O_CLOEXEC);
  if (from < 0) return -1;
  char* const buffer = malloc(1 << 16);
  ssize_t size = -1;
  while (buffer != NULL && (size = read(from, buffer, 1 << 16)) > 0) {
    if (write_all(to, buffer, (size_t)size) != 0) {
      size = -1;
      break;
    }
  }
  free(buffer);
  close(from);
  return size == 0 ? 0 : -1;
}

// One line per entry: d or f, its mark, its name.
static int copy_names(int fd, const char* path, int to) {
  const int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (again < 0) return -1;
  DIR* const directory = fdopendir(again);
  if (directory == NULL) {
    close(again);
    return -1;
  }
  int failed = 0;
  struct dirent* entry;
  while (!failed && (entry = readdir(directory)) != NULL) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    char id[ID_BYTES], name[PATH_BYTES];
    snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
    // A name that is gone meanwhile is not durable.
    if (identify(name, id) != 0) continue;
    char line[ID_BYTES + NAME_MAX + 8];
    snprintf(line, sizeof line, "%c %s %s\n",
             entry->d_type == DT_DIR ? 'd' : 'f', id, entry->d_name);
    failed = write_all(to, line, strlen(line));
  }
  closedir(directory);
  return failed;
}

// Writes what the disk would keep of `fd`, under a temporary name.
static int remember(int fd, char* partial, char* final) {
  const char* const store = getenv("POWER_CUT_STORE");
  const char* const root = getenv("POWER_CUT_DIRECTORY");
  partial[0] = 0;
  if (store == NULL || root == NULL) return 0;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  const size_t prefix = strlen(root);
  if (strncmp(path, root, prefix) != 0 ||
      (path[prefix] != '/' && path[prefix] != 0)) {
    return 0;
  }
  char id[ID_BYTES];
  struct stat found;
  if (fstat(fd, &found) != 0 || identify(link, id) != 0) return -1;
  const int is_directory = S_ISDIR(found.st_mode);
  const char* const kind = is_directory ? "directories" : "files";
  snprintf(final, PATH_BYTES, "%s/%s/%s", store, kind, id);
  snprintf(partial, PATH_BYTES, "%s/partial/%d-%ld", store, (int)getpid(),
           atomic_fetch_add(&num_partial, 1));
  const int to = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (to < 0) return -1;
  const int failed =
      is_directory ? copy_names(fd, path, to) : copy_content(fd, to);
  close(to);
  return failed;
}

static int remembered_sync(int fd, int data_only) {
  const char* const delay = getenv("POWER_CUT_SYNC_MILLISECONDS");
  if (delay != NULL) usleep((useconds_t)atol(delay) * 1000);
  const char* const failing = getenv("POWER_CUT_FAIL_SYNC");
  const long number = atomic_fetch_add(&num_syncs, 1) + 1;
  if (failing != NULL && atol(failing) == number) {
    errno = EIO;
    return -1;
  }
  char partial[PATH_BYTES], final[PATH_BYTES];
  // Copied before and named after the sync: never more than is durable.
  const int failed = remember(fd, partial, final);
  const int done = sync_of_system(fd, data_only);
  const int error = errno;
  if (partial[0]) {
    if (done == 0 && !failed) {
      rename(partial, final);
    } else {
      unlink(partial);
    }
  }
  errno = error;
  return done;
}

int fsync(int fd) { return remembered_sync(fd, 0); }

int fdatasync(int fd) { return remembered_sync(fd, 1); }
