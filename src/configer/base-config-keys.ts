/**
 * What each key of a base configuration is for, with an example, for editors (`schema/base-config.schema.json`). A test
 * holds it against the schema: every key, no others, and every example is accepted.
 */
export type KeyText = { readonly about: string; readonly example: unknown };

const SOURCE = 'Where it comes from: a path of this machine, absolute or relative to the configuration file.';
const PLACE = 'Where it goes in the sandbox. Without it: the source, if that is absolute.';
const MODE = "Permission bits, octal. Without them: the source's, less set-user-ID and the like.";

export const BASE_CONFIG_KEYS: Readonly<Record<string, KeyText>> = {
  id: { about: 'Name of the sandbox, one on all machines.', example: 'square' },
  root: {
    about:
      'Directory of the machine that becomes the root; it must not exist, or be empty. Without it jailor makes one.',
    example: '/srv/sandboxes/square',
  },
  process: {
    about: 'The root process; the sandbox ends when it does.',
    example: { executable: '/usr/sbin/dnsmasq', arguments: ['--keep-in-foreground'] },
  },
  'process.executable': {
    about: 'A program of the machine, or a file with a place of its own. May be a script.',
    example: '/usr/bin/node',
  },
  'process.executable.source': { about: SOURCE, example: '../build/server' },
  'process.executable.path': { about: PLACE, example: '/usr/bin/server' },
  'process.executable.mode': { about: MODE, example: '0755' },
  'process.arguments': { about: "What follows the program's name.", example: ['--port', 5006] },
  'process.environment': {
    about: 'All of its environment: nothing is taken over from who starts it.',
    example: { TZ: 'Europe/Istanbul', LANG: 'C.UTF-8' },
  },
  'process.workingDirectory': { about: 'Where it starts. Made if nothing else makes it.', example: '/srv' },
  'process.user': {
    about: 'Who it runs as, by numbers as they are inside. Without it: user 0, group 0.',
    example: { uid: 1000, gid: 1000 },
  },
  'process.user.uid': { about: 'The user.', example: 1000 },
  'process.user.gid': { about: 'Its group.', example: 1000 },
  'process.user.groups': { about: 'Its other groups.', example: [1001] },
  'process.rlimits': {
    about: 'Limits of the process, by name without RLIMIT_; a number is both limits.',
    example: { nofile: 65536, core: { soft: 0, hard: 0 } },
  },
  'process.oomScoreAdjust': { about: 'Who goes first when the machine is out of memory.', example: 500 },
  network: { about: 'The address of the sandbox and its ports.', example: { address: '10.88.0.5' } },
  'network.address': {
    about: "The sandbox's own IPv4 address, a /32 that it keeps on every machine.",
    example: '10.88.0.5',
  },
  'network.ports': {
    about: 'Ports of the sandbox that the world can reach.',
    example: [{ port: 5006, protocol: 'udp', service: 5006 }],
  },
  'network.ports[].port': { about: 'The port that the process listens on.', example: 5006 },
  'network.ports[].protocol': { about: 'What is spoken there.', example: 'udp' },
  'network.ports[].publish': { about: "Port of the virtual machine's own address that leads to it.", example: 5006 },
  'network.ports[].service': {
    about: "Port of the SDN node's service address that leads to it, wherever the sandbox is.",
    example: 5006,
  },
  executables: {
    about: 'More programs with all that they need; also shared libraries that a program loads by name.',
    example: ['/usr/bin/openssl'],
  },
  'executables[].source': { about: SOURCE, example: '../build/helper' },
  'executables[].path': { about: PLACE, example: '/usr/bin/helper' },
  'executables[].mode': { about: MODE, example: '0755' },
  files: {
    about: 'Files and directories that are only read, as they are.',
    example: ['/etc/services', { source: '../data', path: '/srv/data' }],
  },
  'files[].source': { about: SOURCE, example: '../data' },
  'files[].path': { about: PLACE, example: '/srv/data' },
  'files[].mode': { about: MODE, example: '0640' },
  directories: { about: 'Empty directories.', example: ['/srv/empty'] },
  'directories[].path': { about: 'Where the directory is.', example: '/srv/empty' },
  'directories[].mode': { about: 'Its permission bits, octal.', example: '0750' },
  symlinks: { about: 'Symbolic links.', example: [{ path: '/srv/current', target: 'release-7' }] },
  'symlinks[].path': { about: 'Where the link is.', example: '/srv/current' },
  'symlinks[].target': {
    about: 'What it holds; it may not climb above the root. Nothing needs to be there.',
    example: 'release-7',
  },
  writable: {
    about: 'Directories that can be written to: an empty tmpfs each. All else is read-only.',
    example: ['/var/cache/server'],
  },
  mounts: {
    about: 'Writable paths with particulars, and directories or files of the machine.',
    example: [{ kind: 'tmpfs', path: '/var/cache', size: '16M' }],
  },
  'mounts[].kind': { about: 'A tmpfs is empty at the start; a bind is of the machine.', example: 'tmpfs' },
  'mounts[].path': { about: 'Where it is in the sandbox.', example: '/var/cache' },
  'mounts[].source': {
    about: 'Of a bind: a path of the machine. It must be there on every machine and does not move.',
    example: '/srv/shared',
  },
  'mounts[].size': { about: 'Of a tmpfs. Without it: 256 MiB.', example: '16M' },
  'mounts[].writable': { about: 'Of a bind: whether it can be written to.', example: true },
  'mounts[].scratch': {
    about: 'Of a writable bind: a copy of the process may write there, too, so that mode replicated is possible.',
    example: true,
  },
  'mounts[].executable': { about: 'Whether programs in it can be executed and libraries loaded.', example: true },
  limits: {
    about: 'What all processes of the sandbox may use together.',
    example: { memory: '256M', pids: 64, cpuPercent: 150 },
  },
  'limits.memory': { about: 'Memory, page cache and kernel memory included.', example: '256M' },
  'limits.pids': { about: 'Processes and threads.', example: 64 },
  'limits.cpuWeight': { about: 'Share of the CPUs where they are short.', example: 200 },
  'limits.cpuPercent': { about: 'At most so much CPU time: 150 is one and a half CPUs.', example: 150 },
  'limits.ioWeight': { about: 'Share of the disk where it is short.', example: 50 },
  'limits.ioReadBytes': { about: 'At most so many bytes per second from the disk.', example: '10M' },
  'limits.ioWriteBytes': { about: 'At most so many bytes per second to the disk.', example: '10M' },
  security: {
    about: 'What the sandbox may do beyond the default, which is as little as a server needs.',
    example: { capabilities: ['NET_BIND_SERVICE'] },
  },
  'security.capabilities': {
    about: 'Capabilities without CAP_: all that anything in the sandbox can ever have.',
    example: ['NET_BIND_SERVICE'],
  },
  'security.systemCalls': { about: 'System calls beyond the default profile.', example: ['personality'] },
  'security.userNamespace': { about: 'Whether root inside is nobody on the VM. Without it: yes.', example: false },
  'security.firstId': {
    about: 'The id that root inside has on the VM, of 4096 that are the sandbox’s. Without it: by its address.',
    example: 1879048192,
  },
  'security.onlySystemCalls': {
    about: 'Of these and the default profile only those that stand here, too.',
    example: ['read', 'write', 'exit_group'],
  },
  'security.maskedPaths': { about: 'Hidden, beyond what is hidden in every sandbox.', example: ['/proc/cpuinfo'] },
  'security.readonlyPaths': { about: 'Read-only, beyond what is so in every sandbox.', example: ['/proc/pressure'] },
  restart: {
    about: 'Whether the root process is started again when it has ended by itself.',
    example: { policy: 'on-failure', max: 5 },
  },
  'restart.policy': {
    about: 'on-failure: after an exit code other than 0, a signal, or no memory left.',
    example: 'always',
  },
  'restart.max': { about: 'At most so often in a row. Without it: without end.', example: 5 },
  'restart.backoffMs': { about: 'The first delay, which doubles each time. Without it: 200.', example: 1000 },
  'restart.longestBackoffMs': { about: 'The longest delay. Without it: 60000.', example: 10000 },
  logs: {
    about: 'How much is kept of what it writes to standard output and error.',
    example: { maxBytes: 1048576, files: 5 },
  },
  'logs.maxBytes': { about: 'Of one file. Without it: 10000000.', example: 1048576 },
  'logs.files': { about: 'The current file and those before it. Without it: 3.', example: 5 },
  health: {
    about: 'How its health is found out.',
    example: { udp: { port: 5006, send: '5' }, intervalMs: 10000, retries: 3 },
  },
  'health.command': {
    about: 'A program of the sandbox, which belongs into executables; exit code 0 is healthy.',
    example: ['/usr/bin/check', '--quick'],
  },
  'health.udp': { about: 'A datagram, and its answer.', example: { port: 5006, send: '5', expect: '25' } },
  'health.udp.port': { about: 'The port of the sandbox that it is sent to.', example: 5006 },
  'health.udp.send': { about: 'What is sent.', example: '5' },
  'health.udp.expect': { about: 'What the answer must contain. Without it: anything.', example: '25' },
  'health.intervalMs': { about: 'From the end of one look to the next. Without it: 30000.', example: 10000 },
  'health.timeoutMs': { about: 'How long a look may take. Without it: 5000.', example: 1000 },
  'health.retries': { about: 'So many failures in a row make it unhealthy. Without it: 3.', example: 5 },
  'health.restart': { about: 'Whether an unhealthy one is ended, and started again by restart.', example: true },
  dependencies: {
    about: 'Rules that find files which no ELF header names; the name of each stands as `why` at what it brings.',
    example: { certificates: true, pythonModules: false },
  },
  'dependencies.nodeModules': { about: 'The modules that a Node script imports.', example: false },
  'dependencies.pythonModules': { about: 'The modules that a Python script imports.', example: false },
  'dependencies.dlopenNotes': { about: 'Libraries that an object says it loads by name.', example: false },
  'dependencies.plugins': { about: 'Plugins of libraries that are known to have some.', example: false },
  'dependencies.namedLibraries': {
    about: 'Libraries whose names stand in a program or library that can load by name.',
    example: true,
  },
  'dependencies.nameServices': {
    about: 'The modules that /etc/nsswitch.conf of the sandbox names.',
    example: false,
  },
  'dependencies.resolver': {
    about: "The machine's /etc/resolv.conf, hosts, host.conf, gai.conf, services and protocols.",
    example: true,
  },
  'dependencies.locale': { about: 'The locales that the environment names.', example: false },
  'dependencies.characterSets': { about: 'The conversions of iconv(3), all of them.', example: true },
  'dependencies.timeZone': { about: 'The time zone that TZ of the environment names.', example: false },
  'dependencies.certificates': {
    about: 'Certificate authorities of the machine, and the configuration of OpenSSL.',
    example: true,
  },
  etc: {
    about: 'minimal: small passwd, group, hosts and nsswitch.conf, unless the configuration has them.',
    example: 'none',
  },
};
