# Tries what a process in a sandbox must not be able to do, with built-in functions and system calls alone (no module is
# loaded). Prints a line for each attempt: name, TAB, `refused` or `done`, TAB, how. Nothing that it does would harm the machine
# if it were possible: files are opened and not written, and calls get arguments that mean nothing.
$| = 1;
my ($host_pid) = @ARGV;
my ($EPERM, $EBADF, $EACCES, $EFAULT, $EINVAL, $ENOEXEC) = (1, 9, 13, 14, 22, 8);

sub tell_ { my ($name, $done, $how) = @_; print "$name\t", ($done ? 'done' : 'refused'), "\t$how\n"; }
sub text { return $_[0] . "\0"; }
# A call that is to succeed.
sub try_call { my ($name, @call) = @_; my $result = syscall($call[0], @call[1 .. $#call]); tell_($name, $result >= 0, $result >= 0 ? 'succeeded' : "$!"); return $result; }
# A call with arguments that mean nothing: it is possible if the kernel comes to look at them.
sub reach_call { my ($name, @call) = @_; my $result = syscall($call[0], @call[1 .. $#call]); my $error = $! + 0; my $reached = $result >= 0 || grep { $_ == $error } ($EBADF, $EFAULT, $EINVAL, $ENOEXEC); tell_($name, $reached, $result >= 0 ? 'succeeded' : "$!"); }
sub try_open { my ($name, $mode, $path) = @_; my $there = open(my $file, $mode, $path); tell_($name, $there, $there ? 'opened' : "$!"); }
sub names { my ($path) = @_; opendir(my $directory, $path) or return (); return readdir($directory); }

try_open('write to the root directory', '>', '/escape-probe');
try_open('open /proc/sysrq-trigger to write', '>>', '/proc/sysrq-trigger');
try_open('open kernel.core_pattern to write', '+<', '/proc/sys/kernel/core_pattern');
try_open('open vm.drop_caches to write', '>>', '/proc/sys/vm/drop_caches');
for my $path ('/proc/kcore', '/proc/keys', '/proc/timer_list') {
  my $count = open(my $file, '<', $path) ? sysread($file, my $bytes, 4) : 0;
  tell_("read $path", $count, $count ? "$count bytes" : 'nothing');
}
try_open('open /sys/kernel/uevent_helper to write', '>>', '/sys/kernel/uevent_helper');
sub identity { my @found = stat($_[0]); return @found ? "$found[0]:$found[1]" : ''; }
sub is_other { my $root = identity("/proc/$_[0]/root/."); return $root ne '' && $root ne identity('/.'); }
my @others = grep { /^\d+$/ && is_other($_) } names('/proc');
tell_('reach another root by /proc/PID/root', scalar @others, @others ? "by PID @others" : 'none');
tell_('signal a process of the machine', kill(0, $host_pid), "$!");
try_call('ptrace a process of the machine', 101, 16, $host_pid, 0, 0);
try_call('ptrace PID 1', 101, 0x4206, 1, 0, 0);
try_call('mount', 165, text('none'), text('/tmp'), text('tmpfs'), 0, 0);
try_call('fsopen', 430, text('tmpfs'), 0);
try_call('make a device node of a disk', 133, text('/tmp/disk'), 060600, 0xfe00);
try_open('open that device', '<', '/tmp/disk');
try_call('raw socket', 41, 2, 3, 1);
try_call('packet socket', 41, 17, 3, 0x300);
try_call('join a session keyring', 250, 1, text('escape-probe'));
try_call('add a key to a kernel keyring', 248, text('user'), text('escape-probe'), text('x'), 1, -2);
my @agents = grep { open(my $file, '+<', $_) } map { "/sys/fs/cgroup/$_/release_agent" } ('.', names('/sys/fs/cgroup'));
tell_('open a release_agent of cgroups', scalar @agents, @agents ? $agents[0] : 'none');
# A map of one element; a ring of one entry; an event that never happens.
try_call('make a bpf map', 321, 0, pack('L4 x56', 2, 4, 4, 1), 72);
try_call('userfaultfd', 323, 0x80801);
try_call('make an io_uring', 425, 1, "\0" x 120);
try_call('open a perf event', 298, pack('L2 Q x24 Q x64', 1, 112, 9, 0x60), 0, -1, -1, 0);
reach_call('load a kernel module', 175, 0, 0, text(''));
reach_call('kexec', 246, 0, 99, 0, 0xffffffff);
my @kids;
my $why = '';
for (1 .. 600) {
  my $pid = fork();
  if (!defined $pid) { $why = "$!"; last; }
  if ($pid == 0) { sleep 60; exit; }
  push @kids, $pid;
}
tell_('600 processes', @kids == 600, @kids == 600 ? 'made' : @kids . ", then: $why");
kill 'KILL', @kids;
waitpid($_, 0) for @kids;
my @files;
$why = '';
for (1 .. 5000) {
  my $file;
  if (!open($file, '<', '/dev/null')) { $why = "$!"; last; }
  push @files, $file;
}
tell_('5,000 descriptors', @files == 5000, @files == 5000 ? 'opened' : @files . ", then: $why");
@files = ();
# The id outside of an id inside, by the map of the user namespace.
sub outside { my $id = shift; open(my $map, '<', '/proc/self/uid_map') or return $id; while (<$map>) { my ($inside, $outside, $count) = split; return $outside + $id - $inside if $id >= $inside && $id < $inside + $count; } return $id; }
tell_('be root of the machine', outside($>) == 0, 'as user ' . outside($>));
if (open(my $map, '>', '/proc/self/uid_map')) { tell_('map more ids', defined syswrite($map, "0 0 1\n"), "$!"); } else { tell_('map more ids', 0, "$!"); }
# To enter one's own is refused to everybody; that of PID 1 is the same one, or the machine's.
if (open(my $space, '<', '/proc/1/ns/user')) { try_call('enter the user namespace of PID 1', 308, fileno($space), 0x10000000); } else { tell_('enter the user namespace of PID 1', 0, "$!"); }
my $init = syscall(434, 1, 0);
try_call('enter the namespaces of PID 1 by a pidfd', 308, $init, 0x10000000 | 0x00020000);
# Its exit status is the answer: a child that is made exits at once.
my $made = syscall(56, 0x10000000 | 17, 0, 0, 0, 0);
exit 0 if $made == 0;
tell_('clone into a user namespace', $made > 0, $made > 0 ? 'succeeded' : "$!");
waitpid($made, 0) if $made > 0;
# Namespaces last: one that is made changes what comes behind it.
try_call('unshare a mount namespace', 272, 0x00020000);
try_call('unshare a user namespace', 272, 0x10000000);
try_call('and then mount in it', 165, text('none'), text('/tmp'), text('tmpfs'), 0, 0) if syscall(272, 0x00020000) >= 0;
