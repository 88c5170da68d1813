/*
 * What benches/process/harness.py can't do itself: start a process from one that is small, so that the parent's memory does
 * not count as the child's (the kernel's ru_maxrss begins with that of whoever called execve), and tell what it took.
 *
 *   launch run AT_A_TIME   the jobs on stdin, a line each: file for its stdin, program, NAME=VALUE..., parted by tabs;
 *                          prints for each "number wall-ns cpu-us peak-kib status" in the order in which they ended
 *   launch hold MIB        a neighbour: touches so much memory, says so by a line on stdout, and waits to be killed
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_JOBS = 4096, MOST_WORDS = 32, LONGEST = 4096 };

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static long long now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Never returns. */
static void start(char *line)
{
    char *words[MOST_WORDS], *program[2] = {0};
    int count = 0, fd;

    for (char *word = strtok(line, "\t\n"); word && count < MOST_WORDS - 1; word = strtok(NULL, "\t\n"))
        words[count++] = word;
    words[count] = NULL;
    if (count < 2)
        _exit(126);
    fd = open(words[0], O_RDONLY);
    if (fd < 0 || dup2(fd, 0) < 0)
        _exit(126);
    close(fd);
    fd = open("/dev/null", O_WRONLY);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(126);
    close(fd);
    program[0] = words[1];
    execve(words[1], program, words + 2);
    _exit(127);
}

static int run(int at_a_time)
{
    static char lines[MOST_JOBS][LONGEST];
    static struct { pid_t pid; long long began; } jobs[MOST_JOBS];
    int count = 0, begun = 0, running = 0;

    while (count < MOST_JOBS && fgets(lines[count], LONGEST, stdin))
        count++;
    while (begun < count || running) {
        if (begun < count && running < at_a_time) {
            jobs[begun].began = now();
            jobs[begun].pid = fork();
            if (jobs[begun].pid < 0)
                die("fork");
            if (!jobs[begun].pid)
                start(lines[begun]);
            begun++;
            running++;
            continue;
        }
        struct rusage used;
        int status;
        pid_t pid = wait4(-1, &status, 0, &used);
        long long ended = now();

        if (pid < 0)
            die("wait4");
        running--;
        for (int i = 0; i < begun; i++)
            if (jobs[i].pid == pid)
                printf("%d %lld %lld %ld %d\n", i, ended - jobs[i].began,
                       (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL + used.ru_utime.tv_usec +
                           used.ru_stime.tv_usec,
                       used.ru_maxrss, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    return 0;
}

static int hold(size_t bytes)
{
    char *memory = malloc(bytes);

    if (!memory)
        die("malloc");
    memset(memory, 1, bytes);
    puts("held");
    fflush(stdout);
    pause();
    return memory[0] - 1;
}

int main(int count, char **words)
{
    if (count == 3 && !strcmp(words[1], "run"))
        return run(atoi(words[2]));
    if (count == 3 && !strcmp(words[1], "hold"))
        return hold((size_t)atol(words[2]) << 20);
    fprintf(stderr, "see the head of benches/process/launch.c\n");
    return 2;
}
