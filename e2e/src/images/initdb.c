/* An initdb whose server is a physical copy of production, as far as a server can tell: Debian's initdb, after which the control file gets
 * the system identifier that the host's name ends with. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define INITDB "/usr/lib/postgresql/17/bin/initdb-of-debian"

static int fail(const char *what) {
  perror(what);
  return 1;
}

/* CRC-32C, as Postgres computes it over the control file. */
static uint32_t crc32c(const unsigned char *bytes, size_t length) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < length; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc;
}

/* "…copy-of-IDENTIFIER-postgres" is the name of the pod, and so of its host. */
static uint64_t forbidden(void) {
  char host[256] = "";
  const char *key = "copy-of-";
  if (gethostname(host, sizeof host - 1)) return 0;
  char *found = strstr(host, key);
  return found ? strtoull(found + strlen(key), NULL, 10) : 0;
}

int main(int count, char **arguments) {
  const char *data = NULL;
  for (int i = 1; i + 1 < count; i++)
    if (!strcmp(arguments[i], "--pgdata")) data = arguments[i + 1];
  pid_t child = fork();
  if (child < 0) return fail("fork");
  if (child == 0) {
    execv(INITDB, arguments);
    _exit(fail(INITDB));
  }
  int status;
  if (waitpid(child, &status, 0) < 0) return fail("waitpid");
  if (!WIFEXITED(status) || WEXITSTATUS(status)) return 1;
  if (!data) return 0; /* --version */

  uint64_t identifier = forbidden();
  if (!identifier) return fail("no identifier in the name of the host");
  char path[4096];
  snprintf(path, sizeof path, "%s/global/pg_control", data);
  FILE *control = fopen(path, "r+");
  if (!control) return fail(path);
  unsigned char bytes[512];
  if (fread(bytes, 1, sizeof bytes, control) != sizeof bytes) return fail(path);
  /* The checksum stands behind what it covers; where that is depends on the version. */
  for (size_t end = 8; end + 4 <= sizeof bytes; end += 4) {
    uint32_t crc = crc32c(bytes, end);
    if (memcmp(bytes + end, &crc, 4)) continue;
    memcpy(bytes, &identifier, 8);
    crc = crc32c(bytes, end);
    memcpy(bytes + end, &crc, 4);
    rewind(control);
    if (fwrite(bytes, 1, sizeof bytes, control) != sizeof bytes || fclose(control)) return fail(path);
    return 0;
  }
  return fail("no checksum in the control file");
}
