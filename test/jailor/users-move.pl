# Makes what a move has to give to the right user, in /tmp; says what it has whenever a line comes to the FIFO `in`, which it
# holds open at both ends. No module is loaded.
$| = 1;
sub text { return $_[0] . "\0"; }
mkdir('/tmp/private', 0700) or die "mkdir: $!";
for my $name ('in', 'private/out') { syscall(133, text("/tmp/$name"), 010600, 0) == 0 or die "mknod $name: $!"; }
open(my $in, '+<', '/tmp/in') or die "in: $!";
open(my $out, '+<', '/tmp/private/out') or die "out: $!";
open(my $file, '+>', '/tmp/private/file') or die "file: $!";
chmod(0600, '/tmp/private/file');
open(my $gone, '+>', '/tmp/gone') or die "gone: $!";
unlink('/tmp/gone');
# Locked with a limit that is lowered afterwards: two pages, and then none (RLIMIT_MEMLOCK is 8).
my $memory = 'x' x 8192;
syscall(149, $memory, 8192) == 0 or die "mlock: $!";
my $limit = pack('QQ', 0, 65536);
syscall(160, 8, $limit) == 0 or die "setrlimit: $!";
sub owner { my @found = stat($_[0]); return @found ? "$found[4]:$found[5]" : "$!"; }
sub can { my ($mode, $path) = @_; my $there = open(my $file, $mode, $path); return $there ? 'opens' : "$!"; }
sub status { my $name = shift; open(my $status, '<', '/proc/self/status'); my ($line) = grep { /^$name:/ } <$status>; return join(' ', split(' ', $line)); }
print "ready\n";
while (sysread($in, my $line, 100)) {
  print join(', ',
    status('Uid'), status('Gid'), status('Groups'), status('CapEff'), status('VmLck'),
    "directory " . owner('/tmp/private'), "file " . owner('/tmp/private/file') . ' ' . can('+<', '/tmp/private/file'),
    "gone " . owner($gone), "fifo " . owner('/tmp/private/out') . ' ' . can('+<', '/tmp/private/out'),
    "stdout " . owner(*STDOUT) . ' ' . can('>>', '/dev/stdout'), 'again ' . can('>', '/tmp/another')), "\n";
}
