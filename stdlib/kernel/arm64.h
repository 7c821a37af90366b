/* arch/arm64/include/asm/ptrace.h: the registers of a program that has entered the kernel. */
struct pt_regs {
	u64 regs[31]; u64 sp; u64 pc; u64 pstate; u64 orig_x0; s32 syscallno;
};
