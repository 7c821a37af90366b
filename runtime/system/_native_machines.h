/*
 * Functions that stand in for the emulator's own belong to the process and one architecture. They are told the emulator or its processor, by
 * which the machine is found; other emulators go the plain way.
 */
#ifndef PYPROBE_SYSTEM_MACHINES_H
#define PYPROBE_SYSTEM_MACHINES_H

#include "_native.h"

enum { ARM64, X86_64, ARCHITECTURES };

/* What both kinds of objects below begin with: one of a list of machines. */
struct machine {
    PyObject_HEAD
    struct machine *next;
    void *uc, *cpu;
};

static inline void *machine_of(struct machine *machine, const void *uc)
{
    while (machine && machine->uc != uc)
        machine = machine->next;
    return machine;
}

static inline void *machine_with(struct machine *machine, const void *cpu)
{
    while (machine && machine->cpu != cpu)
        machine = machine->next;
    return machine;
}

static inline void enlist(struct machine **list, void *object)
{
    struct machine *machine = object;

    machine->next = *list;
    *list = machine;
}

static inline void strike(struct machine **list, void *object)
{
    while (*list && *list != object)
        list = &(*list)->next;
    if (*list)
        *list = (*list)->next;
}

static inline void put(uint64_t slot, const void *function)
{
    *(const void **)(uintptr_t)slot = function;
}

#endif
