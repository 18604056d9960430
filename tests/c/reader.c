/*
 * Reads a bus from C, by docs/format.md alone: nothing of busway is included or linked.
 *
 *   reader NAME dump           prints the geometry, every frame that the lanes hold, and the order
 *   reader NAME follow COUNT   reads from the oldest frames on until it has copied COUNT whole
 *
 * One line each, fields separated by spaces, payload in hex. Exit status: 0 good, 1 the segment is
 * refused (the reason is on standard error), 2 usage.
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Section 3: the header. */
struct region {
    uint64_t offset;
    uint64_t bytes;
};

struct header {
    uint8_t magic[8];
    uint32_t layout_version;
    uint32_t fixed_bytes;
    uint64_t features_incompat;
    uint64_t features_ro_compat;
    uint64_t features_compat;
    uint64_t segment_bytes;
    uint32_t topology;
    uint32_t frames;
    uint32_t on_full;
    uint32_t timestamps;
    uint32_t payload_bytes;
    uint32_t align_bytes;
    uint32_t stride_bytes;
    uint32_t lanes;
    uint32_t consumers;
    uint32_t clock;
    uint64_t capacity;
    uint64_t order_capacity;
    uint64_t origin;
    uint64_t schema_hash;
    uint32_t schema_bytes;
    uint32_t zero0;
    uint64_t created_unix_ns;
    uint32_t creator_pid;
    uint32_t creator_uid;
    uint64_t instance;
    char name[64];
    struct region header, control, cursors, heads, order, data;
    uint64_t row_bytes;
    uint64_t lane_bytes;
    uint64_t tickets_offset;
    uint8_t zero1[168];
    uint64_t checksum;
};
_Static_assert(sizeof(struct header) == 512, "the header has 512 bytes");

/* Section 6: a lane's words. */
struct lane_words {
    _Atomic uint64_t head;
    _Atomic uint64_t reserve;
    _Atomic uint64_t rest[14];
};
_Static_assert(sizeof(struct lane_words) == 128, "a lane's words have 128 bytes");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "words are loaded without a lock");

/* Section 7: an event frame's header. */
struct frame_header {
    uint64_t time_ns;
    uint32_t len;
    uint16_t kind;
    uint16_t flags;
};
_Static_assert(sizeof(struct frame_header) == 16, "a frame's header has 16 bytes");

struct bus {
    struct header header; /* a private copy: read once, checked, never read again */
    uint8_t *base;
};

static void refuse(const char *why) {
    fprintf(stderr, "reader: %s\n", why);
    exit(1);
}

static uint64_t fnv1a64(uint64_t hash, const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t round_up(uint64_t value, uint64_t to) {
    return (value + to - 1) / to * to;
}

/* Section 2: the sizes that follow from the shape, compared with those that the header states. */
static void check_regions(const struct header *h) {
    bool ordered = h->topology == 2;
    uint64_t stride = round_up((h->frames == 0 ? 16u : 0u) + h->payload_bytes, h->align_bytes);
    uint64_t latencies = h->frames == 0 && h->timestamps != 0 ? 4800 : 0;
    uint64_t row = round_up(64 + 2 * round_up(h->lanes * UINT64_C(8), 64) + latencies, 128);
    uint64_t tickets = round_up(h->capacity * stride, 64);
    uint64_t lane = round_up(tickets + (ordered ? h->capacity * 8 : 0), 4096);
    uint64_t entries = 0;
    if (ordered)
        for (entries = 1024; entries < 2 * h->lanes * h->capacity;)
            entries *= 2;
    if (h->stride_bytes != stride || h->row_bytes != row || h->tickets_offset != tickets ||
        h->lane_bytes != lane || h->order_capacity != entries)
        refuse("its sizes are not those of its shape");
    const struct region stated[6] = {
        h->header, h->control, h->cursors, h->heads, h->order, h->data,
    };
    const uint64_t bytes[6] = {
        512 + (uint64_t)h->schema_bytes,
        384 + ((uint64_t)h->lanes + h->consumers) * 128,
        h->consumers * row,
        h->lanes * UINT64_C(128),
        entries * 8,
        h->lanes * lane,
    };
    uint64_t end = 0;
    for (int i = 0; i < 6; i++) {
        if (stated[i].offset != end || stated[i].bytes != bytes[i])
            refuse("its regions are not where its shape puts them");
        end = round_up(end + bytes[i], 4096);
    }
    if (h->segment_bytes != end)
        refuse("its size is not that of its shape");
}

/* Section 3: what is checked before a header is believed. */
static void check(const struct bus *bus, const char *name, uint64_t file_bytes) {
    const struct header *h = &bus->header;
    if (memcmp(h->magic, "BUSWAY\0\0", 8) != 0)
        refuse("no magic");
    if (h->layout_version != 2)
        refuse("another layout version");
    if (h->features_incompat != 0)
        refuse("unknown features");
    if (h->schema_bytes > 65536 || file_bytes < 512 + (uint64_t)h->schema_bytes)
        refuse("the schema is too long");
    uint64_t sum = fnv1a64(UINT64_C(0xcbf29ce484222325), (const uint8_t *)h, 504);
    if (h->checksum != fnv1a64(sum, bus->base + 512, h->schema_bytes))
        refuse("the checksum is wrong");
    if (strlen(name) > 64 || strncmp(h->name, name, 64) != 0)
        refuse("another bus's name");
    if (h->clock != 1 || h->topology > 2 || h->frames > 1 || h->on_full > 2 || h->timestamps > 2)
        refuse("an unknown choice");
    if (h->payload_bytes < 1 || h->payload_bytes > 1048576 || h->lanes < 1 || h->lanes > 256 ||
        h->consumers < 1 || h->consumers > 64 || h->capacity < 2 || h->capacity > 16777216 ||
        (h->capacity & (h->capacity - 1)) != 0 || (h->topology == 0 && h->lanes != 1))
        refuse("a number out of range");
    if (h->align_bytes != 8 && h->align_bytes != 16 && h->align_bytes != 64)
        refuse("an alignment that is not 8, 16 or 64");
    check_regions(h);
    if (h->segment_bytes != file_bytes)
        refuse("the file has another size");
}

static void open_bus(struct bus *bus, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "/busway.%s", name);
    int file = shm_open(path, O_RDONLY, 0);
    struct stat stat;
    if (file < 0 || fstat(file, &stat) != 0)
        refuse("it cannot be opened");
    if (stat.st_size < 512)
        refuse("it is shorter than a header");
    bus->base = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (bus->base == MAP_FAILED)
        refuse("it cannot be mapped");
    close(file);
    memcpy(&bus->header, bus->base, sizeof bus->header);
    check(bus, name, (uint64_t)stat.st_size);
}

static struct lane_words *lane_words(const struct bus *bus, uint32_t lane) {
    return (struct lane_words *)(bus->base + bus->header.heads.offset) + lane;
}

static uint8_t *lane_data(const struct bus *bus, uint32_t lane) {
    return bus->base + bus->header.data.offset + lane * bus->header.lane_bytes;
}

/* Section 4: positions wrap. */
static bool is_before(uint64_t a, uint64_t b) {
    return (int64_t)(a - b) < 0;
}

/* Section 7, step 1: the oldest position that the lane holds; `head` gets the end. */
static uint64_t oldest(const struct bus *bus, uint32_t lane, uint64_t *head) {
    struct lane_words *words = lane_words(bus, lane);
    *head = atomic_load_explicit(&words->head, memory_order_acquire);
    uint64_t reserve = atomic_load_explicit(&words->reserve, memory_order_relaxed);
    uint64_t ahead = is_before(*head, reserve) ? reserve - *head : 0;
    uint64_t capacity = bus->header.capacity;
    uint64_t held = ahead < capacity ? capacity - ahead : 0;
    if (held > *head - bus->header.origin)
        held = *head - bus->header.origin;
    return *head - held;
}

/* Section 7, steps 2 to 5: copies the slot of a position. Returns whether the copy is whole. */
static bool copy(const struct bus *bus, uint32_t lane, uint64_t position, uint64_t *into) {
    const struct header *h = &bus->header;
    uint64_t slot = position & (h->capacity - 1);
    _Atomic uint64_t *from = (_Atomic uint64_t *)(lane_data(bus, lane) + slot * h->stride_bytes);
    for (uint32_t word = 0; word < h->stride_bytes / 8; word++)
        into[word] = atomic_load_explicit(&from[word], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    uint64_t reserve =
        atomic_load_explicit(&lane_words(bus, lane)->reserve, memory_order_relaxed);
    return (int64_t)(position + h->capacity - reserve) >= 0;
}

static void print_frame(const struct bus *bus, uint32_t lane, uint64_t position,
                        const uint64_t *copied) {
    const struct header *h = &bus->header;
    const uint8_t *payload = (const uint8_t *)copied;
    struct frame_header frame = {0, h->payload_bytes, 0, 0};
    if (h->frames == 0) {
        memcpy(&frame, payload, sizeof frame);
        payload += sizeof frame;
    }
    if (frame.len > h->payload_bytes)
        frame.len = h->payload_bytes;
    printf("frame lane %" PRIu32 " position %" PRIu64 " time_ns %" PRIu64, lane, position,
           frame.time_ns);
    printf(" kind %u flags %u payload ", frame.kind, frame.flags);
    for (uint32_t i = 0; i < frame.len; i++)
        printf("%02x", payload[i]);
    putchar('\n');
}

static void print_geometry(const struct header *h) {
    printf("topology %" PRIu32 " frames %" PRIu32 " on_full %" PRIu32 " timestamps %" PRIu32 "\n",
           h->topology, h->frames, h->on_full, h->timestamps);
    printf("payload_bytes %" PRIu32 " align_bytes %" PRIu32 " stride_bytes %" PRIu32 "\n",
           h->payload_bytes, h->align_bytes, h->stride_bytes);
    printf("capacity %" PRIu64 " lanes %" PRIu32 " consumers %" PRIu32, h->capacity, h->lanes,
           h->consumers);
    printf(" order_capacity %" PRIu64 "\n", h->order_capacity);
    printf("origin %" PRIu64 " segment_bytes %" PRIu64 " schema_hash %016" PRIx64 "\n",
           h->origin, h->segment_bytes, h->schema_hash);
}

/* Section 10: every ticket that has an entry, in order. For a bus that stands still. */
static void print_order(const struct bus *bus) {
    const struct header *h = &bus->header;
    _Atomic uint64_t *tail = (_Atomic uint64_t *)(bus->base + h->control.offset + 256);
    _Atomic uint64_t *entries = (_Atomic uint64_t *)(bus->base + h->order.offset);
    uint64_t end = atomic_load_explicit(tail, memory_order_relaxed);
    uint64_t count = end - h->origin < h->order_capacity ? end - h->origin : h->order_capacity;
    unsigned shift = 0;
    while ((UINT64_C(1) << shift) < h->order_capacity)
        shift++;
    for (uint64_t ticket = end - count; ticket != end; ticket++) {
        uint64_t from_origin = ticket - h->origin;
        uint64_t entry = atomic_load_explicit(&entries[from_origin & (h->order_capacity - 1)],
                                              memory_order_acquire);
        uint64_t lap = (from_origin >> shift) + 1;
        if (entry >> 24 != (lap & ((UINT64_C(1) << 40) - 1)))
            continue; /* not set */
        uint32_t lane = (uint32_t)(entry & 0xff);
        uint64_t run = entry >> 8 & 0xffff;
        if (lane >= h->lanes)
            refuse("an entry of a lane that the bus does not have");
        /* The run's position: the one whose slot has this ticket beside it. */
        _Atomic uint64_t *tickets =
            (_Atomic uint64_t *)(lane_data(bus, lane) + h->tickets_offset);
        uint64_t head;
        uint64_t position = oldest(bus, lane, &head);
        while (position != head && atomic_load_explicit(&tickets[position & (h->capacity - 1)],
                                                        memory_order_relaxed) != ticket)
            position++;
        printf("order ticket %" PRIu64 " lane %" PRIu32 " run %" PRIu64, ticket, lane, run);
        if (position == head)
            printf(" gone\n");
        else
            printf(" position %" PRIu64 "\n", position);
    }
}

static void dump(const struct bus *bus, uint64_t *copied) {
    print_geometry(&bus->header);
    for (uint32_t lane = 0; lane < bus->header.lanes; lane++) {
        uint64_t head;
        for (uint64_t position = oldest(bus, lane, &head); position != head; position++)
            if (copy(bus, lane, position, copied))
                print_frame(bus, lane, position, copied);
    }
    if (bus->header.order_capacity > 0)
        print_order(bus);
}

static void follow(const struct bus *bus, uint64_t count, uint64_t *copied) {
    static uint64_t next[256];
    uint64_t lost = 0, torn = 0, head;
    for (uint32_t lane = 0; lane < bus->header.lanes; lane++)
        next[lane] = oldest(bus, lane, &head);
    for (uint32_t lane = 0; count > 0; lane = (lane + 1) % bus->header.lanes) {
        uint64_t from = oldest(bus, lane, &head);
        if (is_before(next[lane], from)) {
            lost += from - next[lane];
            next[lane] = from;
        }
        /* A bound on each visit, so that one lane cannot keep the others waiting. */
        for (int visit = 0; visit < 64 && next[lane] != head && count > 0; visit++) {
            if (copy(bus, lane, next[lane], copied)) {
                print_frame(bus, lane, next[lane], copied);
                count--;
            } else {
                lost++;
                torn++;
            }
            next[lane]++;
        }
    }
    printf("lost %" PRIu64 " torn %" PRIu64 "\n", lost, torn);
}

int main(int argc, char **argv) {
    bool dumps = argc == 3 && strcmp(argv[2], "dump") == 0;
    bool follows = argc == 4 && strcmp(argv[2], "follow") == 0;
    if (!dumps && !follows) {
        fprintf(stderr, "usage: reader NAME dump | reader NAME follow COUNT\n");
        return 2;
    }
    struct bus bus;
    open_bus(&bus, argv[1]);
    uint64_t *copied = malloc(bus.header.stride_bytes);
    if (copied == NULL)
        refuse("no memory");
    if (dumps)
        dump(&bus, copied);
    else
        follow(&bus, strtoull(argv[3], NULL, 10), copied);
    free(copied);
    return fflush(stdout) == 0 ? 0 : 1;
}
