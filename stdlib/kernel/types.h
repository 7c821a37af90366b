/*
 * The structs of the emulated kernel, with Linux's names, and only fields that work. Offsets are its own.
 * See include/linux/{sched,mm_types,fs,dcache,cred,net,binfmts}.h and include/net/{sock,inet_sock,tcp}.h of the kernel.
 */

typedef struct { uid_t val; } kuid_t;
typedef struct { gid_t val; } kgid_t;
typedef unsigned short sa_family_t;
typedef struct { unsigned long sig[1]; } sigset_t;
typedef struct { struct net *net; } possible_net_t;

enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_PGID, PIDTYPE_SID, PIDTYPE_MAX };
enum socket_state_value { SS_FREE, SS_UNCONNECTED, SS_CONNECTING, SS_CONNECTED, SS_DISCONNECTING };
enum tcp_state_value {
	TCP_ESTABLISHED = 1, TCP_SYN_SENT, TCP_SYN_RECV, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_TIME_WAIT, TCP_CLOSE, TCP_CLOSE_WAIT,
	TCP_LAST_ACK, TCP_LISTEN, TCP_CLOSING, TCP_NEW_SYN_RECV
};
enum hrtimer_mode {
    HRTIMER_MODE_ABS = 0, HRTIMER_MODE_REL = 1, HRTIMER_MODE_PINNED = 2, HRTIMER_MODE_SOFT = 4, HRTIMER_MODE_HARD = 8,
    HRTIMER_MODE_ABS_PINNED = 2, HRTIMER_MODE_REL_PINNED = 3, HRTIMER_MODE_ABS_SOFT = 4, HRTIMER_MODE_REL_SOFT = 5,
    HRTIMER_MODE_ABS_PINNED_SOFT = 6, HRTIMER_MODE_REL_PINNED_SOFT = 7, HRTIMER_MODE_ABS_HARD = 8, HRTIMER_MODE_REL_HARD = 9,
    HRTIMER_MODE_ABS_PINNED_HARD = 10, HRTIMER_MODE_REL_PINNED_HARD = 11,
};

/* tasks */

struct cred {
	kuid_t uid;
	kgid_t gid;
	kuid_t suid;
	kgid_t sgid;
	kuid_t euid;
	kgid_t egid;
	kuid_t fsuid;
	kgid_t fsgid;
	struct group_info *group_info;
};

struct group_info {
	int ngroups;
	kgid_t gid[32];
};

struct ns_common {
	unsigned int inum;
};

struct new_utsname {
	char sysname[65];
	char nodename[65];
	char release[65];
	char version[65];
	char machine[65];
	char domainname[65];
};

struct uts_namespace {
	struct new_utsname name;
	struct ns_common ns;
};

struct pid_namespace {
	unsigned int level;
	struct ns_common ns;
};

struct mnt_namespace {
	struct ns_common ns;
};

struct ipc_namespace {
	struct ns_common ns;
};

struct net {
	struct ns_common ns;
};

struct nsproxy {
	struct uts_namespace *uts_ns;
	struct ipc_namespace *ipc_ns;
	struct mnt_namespace *mnt_ns;
	struct pid_namespace *pid_ns_for_children;
	struct net *net_ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct fs_struct {
	int users;
	int umask;
	struct path root;
	struct path pwd;
};

struct fdtable {
	unsigned int max_fds;
};

struct files_struct {
	struct fdtable *fdt;
	unsigned int next_fd;
};

struct sigpending {
	sigset_t signal;
};

struct rlimit {
	unsigned long rlim_cur;
	unsigned long rlim_max;
};

struct signal_struct {
	int nr_threads;
	int group_exit_code;
	struct sigpending shared_pending;
	struct pid *pids[4];
	struct rlimit rlim[16];
};

struct sched_entity {
	u64 sum_exec_runtime;
};

struct task_struct {
	unsigned int __state;
	unsigned int flags;
	int on_cpu;
	int prio;
	int static_prio;
	int normal_prio;
	unsigned int rt_priority;
	unsigned int policy;
	int exit_state;
	int exit_code;
	int exit_signal;
	int pdeath_signal;
	pid_t pid;
	pid_t tgid;
	char comm[16];
	struct task_struct *real_parent;
	struct task_struct *parent;
	struct task_struct *group_leader;
	struct mm_struct *mm;
	struct mm_struct *active_mm;
	struct pid *thread_pid;
	const struct cred *real_cred;
	const struct cred *cred;
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	sigset_t blocked;
	sigset_t saved_sigmask;
	struct sigpending pending;
	u64 start_time;
	u64 start_boottime;
	u64 utime;
	u64 stime;
	struct sched_entity se;
	unsigned int personality;
	int *clear_child_tid;
};

struct mm_struct {
	int mm_users;
	int map_count;
	unsigned long task_size;
	unsigned long mmap_base;
	unsigned long total_vm;
	unsigned long start_brk;
	unsigned long brk;
	unsigned long arg_start;
	unsigned long arg_end;
	struct task_struct *owner;
};

struct vm_area_struct {
	unsigned long vm_start;
	unsigned long vm_end;
	unsigned long vm_flags;
	unsigned long vm_pgoff;
};

/* iterators: what kernel/bpf/task_iter.c hands over */

struct bpf_iter_meta {
	u64 session_id;
	u64 seq_num;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};

struct bpf_iter__task_vma {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	struct vm_area_struct *vma;
};

struct kernel_clone_args {
	u64 flags;
	int *pidfd;
	int *child_tid;
	int *parent_tid;
	int exit_signal;
	unsigned long stack;
	unsigned long tls;
};

struct linux_binprm {
	struct file *file;
	int argc;
	int envc;
	const char *filename;
	const char *interp;
};

struct kernel_siginfo {
	int si_signo;
	int si_errno;
	int si_code;
	int __pad;
	union {
		struct { pid_t si_pid; uid_t si_uid; };
		unsigned long si_addr;
		unsigned char _sifields[112];
	};
};

struct ksignal {
	struct kernel_siginfo info;
	int sig;
};

/* files */

struct qstr {
	u32 hash;
	u32 len;
	const unsigned char *name;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct vfsmount {
	struct super_block *mnt_sb;
};

struct file_system_type {
	const char *name;
};

struct super_block {
	dev_t s_dev;
	unsigned long s_blocksize;
	unsigned long s_magic;
	struct file_system_type *s_type;
	char s_id[32];
};

struct inode {
	umode_t i_mode;
	kuid_t i_uid;
	kgid_t i_gid;
	struct super_block *i_sb;
	unsigned long i_ino;
	unsigned int i_nlink;
	dev_t i_rdev;
	loff_t i_size;
	u64 i_blocks;
	s64 i_atime_sec;
	s64 i_mtime_sec;
	s64 i_ctime_sec;
	u32 i_atime_nsec;
	u32 i_mtime_nsec;
	u32 i_ctime_nsec;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	unsigned char d_iname[40];
	struct super_block *d_sb;
};

struct file {
	unsigned int f_mode;
	unsigned int f_flags;
	struct inode *f_inode;
	struct path f_path;
	loff_t f_pos;
	void *private_data;
};

struct filename {
	const char *name;
};

struct kstat {
	u32 result_mask;
	umode_t mode;
	unsigned int nlink;
	u64 ino;
	dev_t dev;
	dev_t rdev;
	kuid_t uid;
	kgid_t gid;
	loff_t size;
	u64 blocks;
};

struct open_flags {
	int open_flag;
	umode_t mode;
};

struct dir_context {
	loff_t pos;
};

struct renamedata {
	struct dentry *old_dentry;
	struct dentry *new_dentry;
	struct inode *old_dir;
	struct inode *new_dir;
	unsigned int flags;
};

/* sockets */

struct in6_addr {
	union {
		u8 u6_addr8[16];
		u16 u6_addr16[8];
		u32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	union {
		struct { u32 skc_daddr; u32 skc_rcv_saddr; };
		u64 skc_addrpair;
	};
	union {
		struct { u16 skc_dport; u16 skc_num; };
		u32 skc_portpair;
	};
	unsigned short skc_family;
	unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	u32 sk_ack_backlog;
	u32 sk_max_ack_backlog;
	int sk_err;
	int sk_rcvbuf;
	int sk_sndbuf;
	u16 sk_type;
	u16 sk_protocol;
	u8 sk_shutdown;
	struct socket *sk_socket;
};

struct inet_sock {
	struct sock sk;
	u32 inet_saddr;
	u16 inet_sport;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	u64 bytes_sent;
	u64 bytes_received;
};

struct socket {
	int state;
	short type;
	struct file *file;
	struct sock *sk;
};

struct iov_iter {
	size_t count;
};

struct msghdr {
	void *msg_name;
	struct iov_iter msg_iter;
	unsigned int msg_flags;
};
