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
  etc: {
    about: 'minimal: small passwd, group, hosts and nsswitch.conf, unless the configuration has them.',
    example: 'none',
  },
};
