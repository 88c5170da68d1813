/*
 * The least that an attachment can be, as system calls: what the plugin's calls are held against in benches/process. Called as a
 * CNI plugin is, without its JSON.
 *
 *   FLOOR_SOCKET=S   a pod without a VF: its namespace and back, one netlink request, and stdin sent to the daemon
 *   FLOOR_VF=PCI FLOOR_NAME=N FLOOR_MAC=M FLOOR_ADDRESS=A
 *                    a pod with a VF: ADD moves its netdev, N in the host, into the pod under the name CNI_IFNAME, gives it MAC, MTU,
 *                    address and default route and sets it up; DEL moves it back. Nobody is asked, nothing is looked at or written down
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MTU = 1400, PREFIX = 16 };

struct request {
    struct nlmsghdr head;
    union {
        struct ifinfomsg link;
        struct ifaddrmsg address;
        struct rtmsg route;
    };
    char attributes[512];
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static const char *given(const char *name)
{
    const char *value = getenv(name);

    if (!value) {
        fprintf(stderr, "floor: no %s\n", name);
        exit(2);
    }
    return value;
}

static int netns(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        die(path);
    return fd;
}

static void enter(int fd)
{
    if (setns(fd, CLONE_NEWNET))
        die("setns");
}

static int rtnetlink(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0)
        die("netlink");
    return fd;
}

static struct request begin(int type, int flags, size_t size)
{
    struct request request = {.head = {.nlmsg_len = NLMSG_LENGTH(size), .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags}};

    return request;
}

static void put(struct request *request, int type, const void *value, size_t size)
{
    struct rtattr *attribute = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->head.nlmsg_len));

    attribute->rta_type = type;
    attribute->rta_len = RTA_LENGTH(size);
    memcpy(RTA_DATA(attribute), value, size);
    request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
}

/* Sends a request and takes the first message that comes back. */
static int ask(int fd, struct request *request)
{
    static char reply[65536];
    struct nlmsghdr *head = (struct nlmsghdr *)reply;

    if (send(fd, request, request->head.nlmsg_len, 0) < 0 || recv(fd, reply, sizeof reply, 0) < 0)
        die("netlink");
    if (head->nlmsg_type == NLMSG_ERROR && ((struct nlmsgerr *)NLMSG_DATA(head))->error) {
        fprintf(stderr, "floor: request %d: %s\n", request->head.nlmsg_type,
                strerror(-((struct nlmsgerr *)NLMSG_DATA(head))->error));
        exit(1);
    }
    return head->nlmsg_type == RTM_NEWLINK ? ((struct ifinfomsg *)NLMSG_DATA(head))->ifi_index : 0;
}

static int index_of(int fd, const char *name)
{
    struct request request = begin(RTM_GETLINK, 0, sizeof request.link);

    put(&request, IFLA_IFNAME, name, strlen(name) + 1);
    return ask(fd, &request);
}

static void move(int fd, int index, int to, const char *name)
{
    struct request request = begin(RTM_SETLINK, NLM_F_ACK, sizeof request.link);

    request.link.ifi_index = index;
    put(&request, IFLA_NET_NS_FD, &to, sizeof to);
    put(&request, IFLA_IFNAME, name, strlen(name) + 1);
    ask(fd, &request);
}

static void configure(int fd, int index)
{
    unsigned char mac[6];
    struct in_addr address;
    int mtu = MTU;
    struct request link = begin(RTM_SETLINK, NLM_F_ACK, sizeof link.link);
    struct request added = begin(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE, sizeof added.address);
    struct request route = begin(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE, sizeof route.route);

    if (sscanf(given("FLOOR_MAC"), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6 ||
        inet_pton(AF_INET, given("FLOOR_ADDRESS"), &address) != 1)
        die("FLOOR_MAC or FLOOR_ADDRESS");
    link.link.ifi_index = index;
    link.link.ifi_flags = link.link.ifi_change = IFF_UP;
    put(&link, IFLA_ADDRESS, mac, sizeof mac);
    put(&link, IFLA_MTU, &mtu, sizeof mtu);
    ask(fd, &link);
    added.address = (struct ifaddrmsg){.ifa_family = AF_INET, .ifa_prefixlen = PREFIX, .ifa_index = index};
    put(&added, IFA_LOCAL, &address, sizeof address);
    put(&added, IFA_ADDRESS, &address, sizeof address);
    ask(fd, &added);
    route.route = (struct rtmsg){.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT,
                                 .rtm_type = RTN_UNICAST};
    put(&route, RTA_OIF, &index, sizeof index);
    ask(fd, &route);
}

static int vf(void)
{
    char path[512];
    int pod = netns(given("CNI_NETNS")), index = 0, fd;
    const char *ifname = given("CNI_IFNAME");

    if (!strcmp(given("CNI_COMMAND"), "ADD")) {
        DIR *directory;
        struct dirent *entry;

        snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/net", given("FLOOR_VF"));
        directory = opendir(path);
        if (!directory)
            die(path);
        fd = rtnetlink();
        while (!index && (entry = readdir(directory)))
            if (entry->d_name[0] != '.')
                index = index_of(fd, entry->d_name);
        move(fd, index, pod, ifname);
        enter(pod);
        configure(rtnetlink(), index);
        return 0;
    }
    int own = netns("/proc/self/ns/net");

    enter(pod);
    fd = rtnetlink();
    move(fd, index_of(fd, ifname), own, given("FLOOR_NAME"));
    return 0;
}

static int no_vf(const char *path)
{
    static char body[8192], message[16384], reply[65536];
    struct sockaddr_un daemon = {.sun_family = AF_UNIX};
    struct request request = begin(RTM_GETLINK, 0, sizeof request.link);
    int own = netns("/proc/self/ns/net"), fd, length;

    enter(netns(given("CNI_NETNS")));
    request.link.ifi_index = 1;
    ask(rtnetlink(), &request);
    enter(own);
    length = (int)fread(body, 1, sizeof body, stdin);
    length = snprintf(message, sizeof message,
                      "POST /api/v1/add HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%.*s",
                      length, length, body);
    strncpy(daemon.sun_path, path, sizeof daemon.sun_path - 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&daemon, sizeof daemon) || write(fd, message, length) != length ||
        read(fd, reply, sizeof reply) <= 0)
        die("daemon");
    return 0;
}

int main(void)
{
    const char *path = getenv("FLOOR_SOCKET");

    return path ? no_vf(path) : vf();
}
