/*
 * What processors do and the emulator's translation of some instructions leaves out; what it rests on is in translation.py.
 *
 * Each instruction is looked at as it is translated, and calls of the functions below are put before and behind the few that need one. The
 * rest stays as it is, so that it costs nothing when it is executed.
 */
#include "_native.h"

#include <string.h>

enum { X86_64, ARM64, ARCHITECTURES };

/* What an instruction needs. */
enum {
    READS_FLAGS = 1,  /* it shows the flags of floating-point exceptions, which the emulator collects elsewhere */
    LOADS_CONTROL = 2,/* it sets them, and what is masked */
    SSE = 4,          /* it may bring a SIMD floating-point exception */
    WAITS = 8,        /* it brings an x87 exception that is pending */
    ALIGNED_16 = 16,  /* its memory operand lies at a multiple of 16 bytes */
    ALIGNED = 32,     /* its memory operand lies at a multiple of its size */
    SETS_SP = 64,     /* it may leave a stack pointer that is not at a multiple of 16 bytes */
    USES_SP = 128,    /* it accesses memory by the stack pointer */
    UNDEFINED = 256,  /* it is none of this processor's, but the emulator takes it for another */
    REFUSED = 512,    /* it is not for ring 3, but the emulator allows it */
};

enum { INVALID_OPCODE = 6, PROTECTION = 13, COPROCESSOR = 16, ALIGNMENT = 17, SIMD = 19 }; /* exceptions of x86 */
enum { STACK_ALIGNMENT = 22, TRANSLATE_AGAIN = 0x7000 };        /* numbers that the emulator does not use; translation.py */
enum { MO_ALIGN = 7 << 4, MO_ALIGN_16 = 4 << 4 };               /* MemOp */
enum { DISAS_TOO_MANY = 1 };                                    /* DisasJumpType: up to it, the next instruction follows */
enum { AC = 1 << 18, HOOK_CODE = 4, SHOWN = 0x3d, SUMMARY = 0x8080 };

/* Places in the emulator's structures, in bytes. */
enum {
    UC_TCG = 0x300, CPU_UC = 0x81A8, CPU_EXCEPTION = 0x81A0,
    X86_EIP = 0x80, X86_GENERAL_END = 0xB0, X86_STATUS = 0x260, X86_CONTROL = 0x262, X86_FLOAT = 0x308, X86_SSE = 0x328,
    X86_MXCSR = 0x330, X86_XMM = 0x338, X86_XMM_END = 0x738, ARM_SP = 0x138, ARM_PC = 0x140,
    FLOAT_FLAGS = 2, FLOAT_TO_ZERO = 4,                         /* float_status */
};

struct block { uint64_t pc, base; uint32_t flags; };            /* TranslationBlock */

struct translated {                                             /* DisasContextBase */
    struct block *block;
    uint64_t first, next;
    int jump;
};

typedef void translate(struct translated *db, void *cpu);

struct operations {                                             /* TranslatorOps */
    void *begin, *start, *instruction_start, *breakpoint;
    translate *instruction;
    void *stop, *sync;
};

struct hook { int type, instruction, references, operation, flags; bool deleted; uint64_t begin, end; void *callback, *user; };

typedef void load(void *tcg, void *value, void *address, uint64_t index, unsigned operation);

typedef struct Translation {
    PyObject_HEAD
    struct Translation *next;
    void *uc, *cpu;
    uint8_t *env;
    int arch;
    bool checks;                     /* exceptions are not masked, or the stack pointer was not aligned: now or some time ago */
    uint64_t exit;                   /* where a run ends, so that the instruction there may not even be fetched; or NOWHERE */
    uint32_t old_control;            /* MXCSR before the instruction */
    uint8_t general[X86_GENERAL_END], vectors[X86_XMM_END - X86_XMM]; /* registers before the instruction */
} Translation;

static Translation *known, *current; /* of this process, and the one that translates */
static unsigned first, each;         /* alignment of the instruction's first access, and of every one */

static struct emulator {             /* functions of libunicorn */
    void (*loop)(const struct operations *operations, struct translated *db, void *cpu, void *block, int most);
    load *accesses[4];
    uint8_t (*fetch8)(void *env, uint64_t address);
    uint32_t (*fetch32)(void *env, uint64_t address);
    void (*insert)(void *uc, struct hook *hook, void **arguments, int n);
    uintptr_t (*constant32)(void *tcg, int32_t value), (*constant64)(void *tcg, int64_t value);
    void (*release)(void *tcg, void *temporary);
    bool (*restore)(void *cpu, uintptr_t from, bool exits);
    void (*leave)(void *cpu);
    void (*raise)(void *env, int exception, uintptr_t from);
    void (*control_changed)(void *env);
    struct operations operations;    /* its own, with our function for instructions */
    translate *instruction;          /* and its own for them */
} emulators[ARCHITECTURES];

#define U8(at) (*(uint8_t *)(at))
#define U16(at) (*(uint16_t *)(at))
#define U32(at) (*(uint32_t *)(at))
#define U64(at) (*(uint64_t *)(at))
#define HERE ((uintptr_t)__builtin_return_address(0))

/* Functions that translated code calls. */

/* The flags that the emulator has collected, where programs look for them. */
static void settle(uint8_t *env)
{
    uint16_t *status = &U16(env + X86_STATUS);

    U32(env + X86_MXCSR) |= U8(env + X86_SSE + FLOAT_FLAGS) & SHOWN;
    *status |= U8(env + X86_FLOAT + FLOAT_FLAGS) & SHOWN;
    if (*status & ~U16(env + X86_CONTROL) & 0x3f)
        *status |= SUMMARY;
}

static bool unmasked(const uint8_t *env)
{
    return ~U32(env + X86_MXCSR) >> 7 & 0x3f || ~U16(env + X86_CONTROL) & 0x3f;
}

static void accept_control(uint8_t *env)
{
    uint16_t *status = &U16(env + X86_STATUS);

    U8(env + X86_SSE + FLOAT_FLAGS) = U8(env + X86_FLOAT + FLOAT_FLAGS) = 0;
    U8(env + X86_SSE + FLOAT_TO_ZERO) = U32(env + X86_MXCSR) >> 15 & 1; /* which the emulator takes for the x87's */
    U8(env + X86_FLOAT + FLOAT_TO_ZERO) = 0;
    *status = (*status & ~SUMMARY) | (*status & ~U16(env + X86_CONTROL) & 0x3f ? SUMMARY : 0);
}

/* Have an exception, at the pc. */
static void bring(const Translation *of, int exception)
{
    if (of->arch == X86_64)
        emulators[X86_64].raise(of->env, exception, 0);
    *(int32_t *)((uint8_t *)of->cpu + CPU_EXCEPTION) = exception;
    emulators[ARM64].leave(of->cpu);
}

/* End the block behind the instruction from which we are called, so that what follows is translated again, with checks. */
static void translate_again(Translation *of, uint64_t next, uintptr_t from)
{
    of->checks = true;
    emulators[of->arch].restore(of->cpu, from, true);
    U64(of->env + (of->arch == X86_64 ? X86_EIP : ARM_PC)) = next;
    bring(of, TRANSLATE_AGAIN);
}

static void before_flags(void *uc, uint64_t pc, uint32_t size, void *user)
{
    Translation *of = user;

    settle(of->env);
    of->old_control = U32(of->env + X86_MXCSR);
}

static void after_control(void *uc, uint64_t next, uint32_t size, void *user)
{
    Translation *of = user;
    uint8_t *env = of->env;

    if (U32(env + X86_MXCSR) & ~0xffff) {
        U32(env + X86_MXCSR) = of->old_control;
        emulators[X86_64].control_changed(env);
        accept_control(env);
        emulators[X86_64].raise(env, PROTECTION, HERE);
    }
    accept_control(env);
    if (!of->checks && unmasked(env))
        translate_again(of, next, HERE);
}

static void before_wait(void *uc, uint64_t pc, uint32_t size, void *user)
{
    uint8_t *env = ((Translation *)user)->env;

    settle(env);
    if (U16(env + X86_STATUS) & SUMMARY)
        emulators[X86_64].raise(env, COPROCESSOR, HERE);
}

static void before_undefined(void *uc, uint64_t pc, uint32_t size, void *user)
{
    emulators[X86_64].raise(((Translation *)user)->env, INVALID_OPCODE, HERE);
}

static void before_refused(void *uc, uint64_t pc, uint32_t size, void *user)
{
    emulators[X86_64].raise(((Translation *)user)->env, PROTECTION, HERE);
}

static void before_sse(void *uc, uint64_t pc, uint32_t size, void *user)
{
    Translation *of = user;
    uint8_t *env = of->env, *flags = env + X86_SSE + FLOAT_FLAGS;

    U32(env + X86_MXCSR) |= *flags & SHOWN;
    *flags = 0;
    memcpy(of->general, env, sizeof of->general);
    memcpy(of->vectors, env + X86_XMM, sizeof of->vectors);
}

static void after_sse(void *uc, uint64_t next, uint32_t size, void *user)
{
    Translation *of = user;
    uint8_t *env = of->env, *flags = env + X86_SSE + FLOAT_FLAGS;

    if (!(*flags & SHOWN & ~(U32(env + X86_MXCSR) >> 7)))
        return;
    U32(env + X86_MXCSR) |= *flags & SHOWN;
    *flags = 0;
    memcpy(env, of->general, sizeof of->general); /* it has done nothing */
    memcpy(env + X86_XMM, of->vectors, sizeof of->vectors);
    emulators[X86_64].raise(env, SIMD, HERE);
}

static void after_sp(void *uc, uint64_t next, uint32_t size, void *user)
{
    Translation *of = user;

    if (U64(of->env + ARM_SP) & 15)
        translate_again(of, next, HERE);
}

static void before_sp(void *uc, uint64_t pc, uint32_t size, void *user)
{
    Translation *of = user;

    if (U64(of->env + ARM_SP) & 15) {
        emulators[ARM64].restore(of->cpu, HERE, true);
        bring(of, STACK_ALIGNMENT);
    }
}

/* CPUClass.do_unaligned_access of x86, which has none */
static void unaligned(void *cpu, uint64_t address, int access, int index, uintptr_t from)
{
    for (Translation *of = known; of; of = of->next)
        if (of->cpu == cpu)
            emulators[X86_64].raise(of->env, ALIGNMENT, from);
}

/* Instructions. */

enum { NONE = 1, P66 = 2, PF3 = 4, PF2 = 8 };

/* By the opcode behind 0F: prefixes with which it is an SSE instruction whose operand of 16 bytes must be aligned (Intel SDM, table 2-21). */
static const uint8_t aligned_0f[256] = {
    [0x12] = PF3, [0x14 ... 0x15] = NONE | P66, [0x16] = PF3, [0x28 ... 0x29] = NONE | P66, [0x2b] = NONE | P66, [0x2c ... 0x2d] = P66,
    [0x51] = NONE | P66, [0x52 ... 0x53] = NONE, [0x54 ... 0x59] = NONE | P66, [0x5a] = P66, [0x5b] = NONE | P66 | PF3,
    [0x5c ... 0x5f] = NONE | P66, [0x60 ... 0x6d] = P66, [0x6f] = P66, [0x70] = P66 | PF3 | PF2, [0x74 ... 0x76] = P66,
    [0x7c ... 0x7d] = P66 | PF2, [0x7f] = P66, [0xc2] = NONE | P66, [0xc6] = NONE | P66, [0xd0] = P66 | PF2, [0xd1 ... 0xd5] = P66,
    [0xd8 ... 0xe5] = P66, [0xe6] = P66 | PF2, [0xe7 ... 0xef] = P66, [0xf1 ... 0xf6] = P66, [0xf8 ... 0xfe] = P66,
};
/* Those behind 0F 38 and 0F 3A with the prefix 66. */
static const bool aligned_38[256] = {
    [0x00 ... 0x0b] = true, [0x10] = true, [0x14 ... 0x15] = true, [0x17] = true, [0x1c ... 0x1e] = true, [0x28 ... 0x2b] = true,
    [0x37 ... 0x41] = true, [0xdb ... 0xdf] = true,
};
static const bool aligned_3a[256] = {
    [0x08 ... 0x09] = true, [0x0c ... 0x0f] = true, [0x40 ... 0x42] = true, [0x44] = true, [0xdf] = true,
};
/* SSE instructions behind 0F and 0F 3A that calculate with floating-point numbers. */
static const bool floats_0f[256] = {
    [0x2a] = true, [0x2c ... 0x2f] = true, [0x51] = true, [0x58 ... 0x5f] = true, [0x7c ... 0x7d] = true, [0xc2] = true, [0xd0] = true,
    [0xe6] = true,
};
static const bool floats_3a[256] = {[0x08 ... 0x0b] = true, [0x40 ... 0x41] = true};
/* By the field reg of 0F AE with a memory operand: FXSAVE, FXRSTOR, LDMXCSR, STMXCSR, XSAVE, XRSTOR, XSAVEOPT. */
static const uint8_t states[8] = {READS_FLAGS, LOADS_CONTROL, LOADS_CONTROL, READS_FLAGS, READS_FLAGS, LOADS_CONTROL, READS_FLAGS};

static unsigned look_x87(unsigned opcode, unsigned modrm)
{
    unsigned reg = modrm >> 3 & 7;

    if (modrm < 0xc0) {
        if (opcode == 0xd9 && reg >= 4)
            return reg < 6 ? LOADS_CONTROL | WAITS : reg == 6 ? READS_FLAGS : 0; /* FLDENV, FLDCW; FNSTENV; FNSTCW */
        if (opcode == 0xdd && reg >= 4)
            return reg == 4 ? LOADS_CONTROL | WAITS : reg == 6 ? LOADS_CONTROL : READS_FLAGS; /* FRSTOR; FNSAVE; FNSTSW */
    } else if (opcode == 0xdb && (modrm & 0xf8) == 0xe0) {
        return modrm == 0xe2 || modrm == 0xe3 ? LOADS_CONTROL : 0; /* FNCLEX, FNINIT; FNENI and others */
    } else if (opcode == 0xdf && modrm == 0xe0) {
        return READS_FLAGS; /* FNSTSW AX */
    }
    return WAITS;
}

static unsigned look_x86_64(void *env, uint64_t pc)
{
    uint8_t (*fetch)(void *, uint64_t) = emulators[X86_64].fetch8;
    unsigned byte, prefix = NONE, i = 0;

    for (;; i++) {
        byte = fetch(env, pc + i);
        if (byte == 0xf2 || byte == 0xf3)
            prefix = byte == 0xf2 ? PF2 : PF3;
        else if (byte == 0x66)
            prefix = prefix == NONE ? P66 : prefix;
        else if (byte != 0x67 && byte != 0xf0 && (byte & 0xe7) != 0x26 && (byte & 0xfe) != 0x64)
            break;
        if (i == 13)
            return 0; /* too long, or nothing of ours */
    }
    if ((byte & 0xf0) == 0x40)
        byte = fetch(env, pc + ++i);
    if ((byte & 0xfe) == 0xc4)
        return UNDEFINED; /* VEX: without AVX and BMI there is no instruction with such a prefix */
    if (byte == 0x8f || (byte & 0xfe) == 0xc6) {
        unsigned modrm = fetch(env, pc + i + 1);

        return modrm >> 3 & 7 ? UNDEFINED : 0; /* XOP; XABORT and XBEGIN */
    }
    if (byte == 0x9b)
        return WAITS;
    if ((byte & 0xf4) == 0xe4 || (byte & 0xfc) == 0x6c)
        return REFUSED; /* IN, OUT, INS, OUTS */
    if ((byte & 0xf8) == 0xd8)
        return look_x87(byte, fetch(env, pc + i + 1));
    if (byte != 0x0f)
        return 0;
    byte = fetch(env, pc + ++i);
    if (byte == 0x34)
        return REFUSED; /* SYSENTER, which Linux sets up for 32-bit programs only */
    if (byte == 0xae) {
        unsigned modrm = fetch(env, pc + i + 1);

        return modrm < 0xc0 ? states[modrm >> 3 & 7] : 0;
    }
    if (byte == 0x38)
        return prefix == P66 && aligned_38[fetch(env, pc + i + 1)] ? ALIGNED_16 : 0;
    if (byte == 0x3a) {
        byte = fetch(env, pc + i + 1);
        return prefix == P66 ? (aligned_3a[byte] ? ALIGNED_16 : 0) | (floats_3a[byte] ? SSE : 0) : 0;
    }
    return (aligned_0f[byte] & prefix ? ALIGNED_16 : 0) | (floats_0f[byte] ? SSE : 0);
}

/* Whether a load or store changes the stack pointer by anything but a multiple of 16. */
static bool unaligned_writeback(uint32_t code)
{
    if ((code & 0x3a800000) == 0x28800000) { /* pairs */
        unsigned scale = code >> 26 & 1 ? 2 + (code >> 30) : 2 + (code >> 31);

        return ((code >> 15 & 127) << scale) & 15;
    }
    if ((code & 0x3b200400) == 0x38000400)
        return code >> 12 & 15;
    return (code & 0xbe800000) == 0x0c800000; /* structures of vectors */
}

static unsigned look_arm64(void *env, uint64_t pc)
{
    uint32_t code = emulators[ARM64].fetch32(env, pc);
    bool rn_sp = (code >> 5 & 31) == 31;

    if ((code & 0x0a000000) == 0x08000000) {
        unsigned need = (code & 0x3fa00000) == 0x08800000 || (code & 0x3ffffc00) == 0x38bfc000 ? ALIGNED : 0; /* LDAR, STLR; LDAPR */

        if (!rn_sp || (code & 0x3b000000) == 0x18000000 || (code & 0xffc00000) == 0xf9800000) /* literals; PRFM */
            return need;
        return need | USES_SP | (unaligned_writeback(code) ? SETS_SP : 0);
    }
    if ((code & 31) != 31 || code >> 31 == 0)
        return 0;
    if ((code & 0x3f000000) == 0x11000000) /* ADD, SUB (immediate) */
        return rn_sp && !(code >> 10 & 15) ? 0 : SETS_SP;
    if ((code & 0x3fe00000) == 0x0b200000) /* ADD, SUB (extended register) */
        return SETS_SP;
    return (code & 0x1f800000) == 0x12000000 && (code >> 29 & 3) != 3 ? SETS_SP : 0; /* AND, ORR, EOR (immediate) */
}

/* Translation. */

static void insert(Translation *of, void (*function)(void *, uint64_t, uint32_t, void *), uint64_t pc)
{
    struct emulator *emulator = &emulators[of->arch];
    uint8_t *tcg = *(uint8_t **)((uint8_t *)of->uc + UC_TCG);
    struct hook hook = {.type = HOOK_CODE, .callback = (void *)function};
    void *arguments[] = {
        tcg + emulator->constant64(tcg, (intptr_t)of->uc), tcg + emulator->constant64(tcg, pc), tcg + emulator->constant32(tcg, 0),
        tcg + emulator->constant64(tcg, (intptr_t)of),
    };
    void *temporaries[4];

    memcpy(temporaries, arguments, sizeof temporaries);
    emulator->insert(of->uc, &hook, arguments, 4);
    for (int i = 4; i--;)
        emulator->release(tcg, temporaries[i]);
}

static void instruction_x86_64(struct translated *db, void *cpu)
{
    Translation *of = current;
    unsigned need = db->next != of->exit ? look_x86_64(of->env, db->next) : 0;

    if (need & UNDEFINED)
        insert(of, before_undefined, db->next);
    if (need & REFUSED)
        insert(of, before_refused, db->next);
    if (of->checks && need & WAITS)
        insert(of, before_wait, db->next);
    if (of->checks && need & SSE)
        insert(of, before_sse, db->next);
    if (need & (READS_FLAGS | LOADS_CONTROL))
        insert(of, before_flags, db->next);
    first = need & ALIGNED_16 ? MO_ALIGN_16 : 0;
    each = db->block->flags & AC ? MO_ALIGN : 0;
    emulators[X86_64].instruction(db, cpu);
    first = each = 0;
    if (db->jump > DISAS_TOO_MANY)
        return;
    if (need & LOADS_CONTROL)
        insert(of, after_control, db->next);
    if (of->checks && need & SSE)
        insert(of, after_sse, db->next);
}

static void instruction_arm64(struct translated *db, void *cpu)
{
    Translation *of = current;
    unsigned need = db->next != of->exit ? look_arm64(of->env, db->next) : 0;

    if (of->checks && need & USES_SP)
        insert(of, before_sp, db->next);
    each = need & ALIGNED ? MO_ALIGN : 0;
    emulators[ARM64].instruction(db, cpu);
    each = 0;
    if (!of->checks && need & SETS_SP && db->jump <= DISAS_TOO_MANY)
        insert(of, after_sp, db->next);
}

static inline void loop(int arch, const struct operations *operations, struct translated *db, void *cpu, void *block, int most)
{
    struct emulator *emulator = &emulators[arch];

    first = each = 0; /* the last translation may have ended in a jump out of it, for a page that is not there */
    for (current = known; current && current->cpu != cpu; current = current->next)
        ;
    if (current && emulator->instruction != operations->instruction) {
        translate *ours = arch == X86_64 ? instruction_x86_64 : instruction_arm64;

        emulator->instruction = operations->instruction;
        emulator->operations = *operations;
        emulator->operations.instruction = ours;
    }
    emulator->loop(current ? &emulator->operations : operations, db, cpu, block, most);
}

static inline void accessed(int arch, int which, void *tcg, void *value, void *address, uint64_t index, unsigned operation)
{
    if (first)
        operation = (operation & ~MO_ALIGN) | first;
    else if (each && operation & 3)
        operation |= each;
    first = 0;
    emulators[arch].accesses[which](tcg, value, address, index, operation);
}

#define ACCESS(name, arch, which) \
    static void access_##name##_##which(void *tcg, void *value, void *address, uint64_t index, unsigned operation) \
    { \
        accessed(arch, which, tcg, value, address, index, operation); \
    }
#define FUNCTIONS(name, arch) \
    ACCESS(name, arch, 0) \
    ACCESS(name, arch, 1) \
    ACCESS(name, arch, 2) \
    ACCESS(name, arch, 3) \
    static void loop_##name(const struct operations *operations, struct translated *db, void *cpu, void *block, int most) \
    { \
        loop(arch, operations, db, cpu, block, most); \
    }

FUNCTIONS(x86_64, X86_64)
FUNCTIONS(arm64, ARM64)

static void *const ours[ARCHITECTURES][5] = {
    [X86_64] = {(void *)loop_x86_64, (void *)access_x86_64_0, (void *)access_x86_64_1, (void *)access_x86_64_2, (void *)access_x86_64_3},
    [ARM64] = {(void *)loop_arm64, (void *)access_arm64_0, (void *)access_arm64_1, (void *)access_arm64_2, (void *)access_arm64_3},
};

/* Dressed for Python. */

enum { PASSED_ON = 5, CALLED = 10 };

static PyObject *Translation_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"arm64", "uc", "cpu", "env", "functions", "slots", "unaligned_place", NULL};
    unsigned long long uc, cpu, env, place, f[PASSED_ON + CALLED], slots[PASSED_ON];
    struct emulator *emulator;
    Translation *of;
    int arch;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "pKKK(KKKKKKKKKKKKKKK)(KKKKK)K", names, &arch, &uc, &cpu, &env, &f[0], &f[1], &f[2], &f[3],
                                     &f[4], &f[5], &f[6], &f[7], &f[8], &f[9], &f[10], &f[11], &f[12], &f[13], &f[14], &slots[0],
                                     &slots[1], &slots[2], &slots[3], &slots[4], &place))
        return NULL;
    of = new_object(type);
    if (!of)
        return NULL;
    of->arch = arch;
    of->uc = POINTER(uc);
    of->cpu = POINTER(cpu);
    of->env = POINTER(env);
    of->exit = NOWHERE;
    emulator = &emulators[arch];
    emulator->loop = POINTER(f[0]);
    for (int i = 0; i < 4; i++)
        emulator->accesses[i] = POINTER(f[1 + i]);
    emulator->fetch8 = POINTER(f[5]);
    emulator->fetch32 = POINTER(f[6]);
    emulator->insert = POINTER(f[7]);
    emulator->constant32 = POINTER(f[8]);
    emulator->constant64 = POINTER(f[9]);
    emulator->release = POINTER(f[10]);
    emulator->restore = POINTER(f[11]);
    emulator->leave = POINTER(f[12]);
    emulator->raise = POINTER(f[13]);
    emulator->control_changed = POINTER(f[14]);
    for (int i = 0; i < PASSED_ON; i++)
        *(void **)POINTER(slots[i]) = ours[arch][i];
    if (place)
        *(void **)POINTER(place) = (void *)unaligned;
    of->next = known;
    known = of;
    return (PyObject *)of;
}

static void Translation_dealloc(PyObject *self)
{
    Translation **at = &known;

    while (*at && *at != (Translation *)self)
        at = &(*at)->next;
    if (*at)
        *at = (*at)->next;
    free_object(self);
}

static PyObject *Translation_settle(PyObject *self, PyObject *unused)
{
    settle(((Translation *)self)->env);
    Py_RETURN_NONE;
}

static PyObject *Translation_control_loaded(PyObject *self, PyObject *unused)
{
    Translation *of = (Translation *)self;
    bool again = !of->checks && unmasked(of->env);

    accept_control(of->env);
    of->checks |= again;
    return PyBool_FromLong(again);
}

static PyObject *Translation_ends(PyObject *self, PyObject *arg)
{
    uint64_t address = PyLong_AsUnsignedLongLong(arg);

    if (PyErr_Occurred())
        return NULL;
    ((Translation *)self)->exit = address;
    Py_RETURN_NONE;
}

static PyMethodDef Translation_methods[] = {
    {"ends", Translation_ends, METH_O, "ends(address): the next run ends there, and what is there is not to be fetched."},
    {"settle", Translation_settle, METH_NOARGS, "Put the flags of floating-point exceptions where programs look for them."},
    {"control_loaded", Translation_control_loaded, METH_NOARGS,
     "The control and status of floating point were set from outside; whether what is translated already lacks checks now."},
    {NULL},
};

static PyType_Slot Translation_slots[] = {
    {Py_tp_doc, "What is added to an emulator's translation of instructions; see translation.py."},
    {Py_tp_new, Translation_new},
    {Py_tp_dealloc, Translation_dealloc},
    {Py_tp_methods, Translation_methods},
    {0, NULL},
};

PyType_Spec Translation_spec = {
    "pyprobe.runtime.machine._native.Translation", sizeof(Translation), 0, Py_TPFLAGS_DEFAULT, Translation_slots,
};
