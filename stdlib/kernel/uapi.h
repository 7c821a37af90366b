/* What programs and the kernel exchange in memory, laid out as in include/uapi of the kernel, where x86-64 and arm64 agree. */

struct __kernel_timespec { long long tv_sec; long long tv_nsec; };
struct __kernel_itimerspec { struct __kernel_timespec it_interval; struct __kernel_timespec it_value; };
struct __kernel_old_timeval { long tv_sec; long tv_usec; };
struct __kernel_old_itimerval { struct __kernel_old_timeval it_interval; struct __kernel_old_timeval it_value; };
struct timezone { int tz_minuteswest; int tz_dsttime; };
struct tms { long tms_utime; long tms_stime; long tms_cutime; long tms_cstime; };
struct in_addr { u32 s_addr; };
struct sockaddr { sa_family_t sa_family; char sa_data[14]; };
struct sockaddr_in { sa_family_t sin_family; u16 sin_port; struct in_addr sin_addr; unsigned char __pad[8]; };
struct sockaddr_in6 { unsigned short sin6_family; u16 sin6_port; u32 sin6_flowinfo; struct in6_addr sin6_addr; u32 sin6_scope_id; };
struct sockaddr_un { sa_family_t sun_family; char sun_path[108]; };
struct iovec { void *iov_base; size_t iov_len; };
struct user_msghdr {
	void *msg_name; int msg_namelen; struct iovec *msg_iov; size_t msg_iovlen; void *msg_control; size_t msg_controllen;
	unsigned int msg_flags;
};
struct mmsghdr { struct user_msghdr msg_hdr; unsigned int msg_len; };
struct pollfd { int fd; short events; short revents; };
struct rlimit64 { u64 rlim_cur; u64 rlim_max; };
struct flock { short l_type; short l_whence; loff_t l_start; loff_t l_len; pid_t l_pid; };
struct open_how { u64 flags; u64 mode; u64 resolve; };
struct clone_args {
	u64 flags; u64 pidfd; u64 child_tid; u64 parent_tid; u64 exit_signal; u64 stack; u64 stack_size; u64 tls; u64 set_tid;
	u64 set_tid_size; u64 cgroup;
};
struct linux_dirent64 { u64 d_ino; s64 d_off; unsigned short d_reclen; unsigned char d_type; char d_name[]; };
struct statx_timestamp { s64 tv_sec; u32 tv_nsec; s32 __reserved; };
struct statx {
	u32 stx_mask; u32 stx_blksize; u64 stx_attributes; u32 stx_nlink; u32 stx_uid; u32 stx_gid; u16 stx_mode; u16 __spare0[1];
	u64 stx_ino; u64 stx_size; u64 stx_blocks; u64 stx_attributes_mask; struct statx_timestamp stx_atime;
	struct statx_timestamp stx_btime; struct statx_timestamp stx_ctime; struct statx_timestamp stx_mtime; u32 stx_rdev_major;
	u32 stx_rdev_minor; u32 stx_dev_major; u32 stx_dev_minor;
};
struct rusage {
	struct __kernel_old_timeval ru_utime; struct __kernel_old_timeval ru_stime; long ru_maxrss; long ru_ixrss; long ru_idrss;
	long ru_isrss; long ru_minflt; long ru_majflt; long ru_nswap; long ru_inblock; long ru_oublock; long ru_msgsnd; long ru_msgrcv;
	long ru_nsignals; long ru_nvcsw; long ru_nivcsw;
};
