/* Preloaded into a server, makes every fsync and fdatasync take 10 ms longer: a slow disk on a machine that has none. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

static void wait_ten_ms(void) {
  struct timespec t = {0, 10 * 1000 * 1000};
  nanosleep(&t, 0);
}

int fsync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  wait_ten_ms();
  return real(fd);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  wait_ten_ms();
  return real(fd);
}
