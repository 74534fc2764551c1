/**
 * The two configurations of a sandbox, as types. configer turns a base configuration into a full one; jailor, sdaemon
 * and smanager read the full one. The schemas that check them stand in `full-config.ts` (here in base/, so that jailor
 * needs nothing of configer) and in `configer/`.
 */

export type Protocol = 'udp' | 'tcp';

/** A port of the sandbox and where the world finds it. */
export type PortSpec = {
  readonly port: number;
  readonly protocol: Protocol;
  /** Port on the VM's own address that is forwarded to it; absent: not published. */
  readonly publish?: number;
  /** Port on the SDN node's service address; absent: no service. */
  readonly service?: number;
};

export type ProcessSpec = {
  /** Absolute path inside the sandbox. */
  readonly executable: string;
  /** Without argv[0], which is the executable's path. */
  readonly arguments: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Absolute path inside the sandbox. */
  readonly workingDirectory: string;
  /** Absent: user 0, group 0, no other groups. Ids as they are inside. */
  readonly user?: UserSpec;
  /** By name in lower case without `RLIMIT_`; a number is both limits. Absent: jailor's, but 1024 descriptors (soft). */
  readonly rlimits?: Readonly<Record<string, number | RlimitSpec>>;
  /** -1000 to 1000, proc(5). Absent: 0, as the VM's own programs have. */
  readonly oomScoreAdjust?: number;
};

export type UserSpec = { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };

export type RlimitSpec = { readonly soft: number; readonly hard: number };

/** What all processes of a sandbox may use together. What is absent has the default of jailor/limits.ts, or none. */
export type LimitsSpec = {
  /** Bytes, page cache and kernel memory included. */
  readonly memory?: number;
  /** Processes and threads. */
  readonly pids?: number;
  /** 1 to 10000, where 100 is everybody's. */
  readonly cpuWeight?: number;
  /** Per cent of one CPU: 150 is one and a half. */
  readonly cpuPercent?: number;
  /** 1 to 10000, where 100 is everybody's. */
  readonly ioWeight?: number;
  /** Bytes per second from and to the disk that the state directory is on. */
  readonly ioReadBytes?: number;
  readonly ioWriteBytes?: number;
};

/** What a sandbox may do beyond the default, which is as little as a server needs. */
export type SecuritySpec = {
  /** Names in capitals without `CAP_`: all that the root process and its children can ever have. */
  readonly capabilities: readonly string[];
  /** System calls beyond the default profile, by name. */
  readonly systemCalls: readonly string[];
  /** Root inside is nobody on the VM; absent: so it is. `false` is for VMs that cannot. */
  readonly userNamespace?: boolean;
  /** The id on the VM that root inside has, of 4096 that are the sandbox's. Absent: it follows from the address. */
  readonly firstId?: number;
  /** Of these and the default profile's only those that stand here, too; absent: all. */
  readonly onlySystemCalls?: readonly string[];
  /** Of procfs, beyond what is hidden and protected in every sandbox. */
  readonly maskedPaths?: readonly string[];
  readonly readonlyPaths?: readonly string[];
};

/** A writable path with particulars, or a directory or file of the VM. */
export type MountSpec =
  | {
      readonly kind: 'tmpfs';
      readonly path: string;
      /** Bytes. Absent: 256 MiB. */
      readonly size?: number;
      /** Programs in it can be executed and libraries loaded; absent: not. */
      readonly executable?: boolean;
    }
  | {
      readonly kind: 'bind';
      readonly path: string;
      /** Absolute path on the VM. It must be there on every VM, with what the process expects: it does not move. */
      readonly source: string;
      readonly writable?: boolean;
      /** What the process writes there may be written twice, by it and by its silent copy; absent: not, so it has none. */
      readonly scratch?: boolean;
      readonly executable?: boolean;
    };

/** When the root process is started again after its end; not after one that was asked for. */
export type RestartSpec = {
  /** `on-failure`: an exit code that is not 0, a signal, no memory left. */
  readonly policy: 'no' | 'on-failure' | 'always';
  /** In a row; absent: without end. */
  readonly max?: number;
  /** Before the first restart in a row; each further one waits twice as long. Absent: 200. */
  readonly backoffMs?: number;
  /** The longest that it grows to. Absent: 60,000. */
  readonly longestBackoffMs?: number;
};

/** What is kept of what it writes to standard output and error. */
export type LogsSpec = {
  /** Of one file. Absent: 10,000,000. */
  readonly maxBytes?: number;
  /** The current one and those before it. Absent: 3. */
  readonly files?: number;
};

/** One of `command` and `udp`. */
export type HealthSpec = {
  /** A program of the sandbox and its arguments; healthy is exit code 0. */
  readonly command?: readonly string[];
  /** A datagram to a port of the sandbox, and text that the answer must contain; absent: any answer. */
  readonly udp?: { readonly port: number; readonly send: string; readonly expect?: string };
  /** From the end of one look to the next. Absent: 30,000. */
  readonly intervalMs?: number;
  /** Absent: 5,000. */
  readonly timeoutMs?: number;
  /** So many failures in a row make it unhealthy. Absent: 3. */
  readonly retries?: number;
  /** One that is unhealthy is ended and started again, as `restart` has it. */
  readonly restart?: boolean;
};

export type NetworkSpec = {
  /** IPv4 address of the sandbox, a /32 that it keeps for life. */
  readonly address: string;
  readonly ports: readonly PortSpec[];
};

export type FileEntry = {
  /** Absolute path inside the sandbox. */
  readonly path: string;
  /** Absolute path on the host, every symbolic link resolved. */
  readonly source: string;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** The rule that brought it here and what needed it: `library: /usr/bin/node`. For people; nothing depends on it. */
  readonly why?: string;
};

export type SymlinkEntry = { readonly path: string; readonly target: string; readonly why?: string };

export type DirectoryEntry = { readonly path: string; readonly mode: number };

/** What configer writes and jailor makes a sandbox from. Every path inside is absolute and normal (no `.` or `..`). */
export type FullConfig = {
  readonly version: 1;
  /** Name of the sandbox: `[a-z][a-z0-9-]{0,31}`, unique over all VMs. */
  readonly id: string;
  /** Directory on the host that becomes the sandbox's root; absent: one that jailor makes under its state directory. */
  readonly root?: string;
  readonly process: ProcessSpec;
  readonly network: NetworkSpec;
  readonly files: readonly FileEntry[];
  readonly symlinks: readonly SymlinkEntry[];
  readonly directories: readonly DirectoryEntry[];
  /** Paths inside the sandbox that are writable (an empty tmpfs each); everything else is read-only. */
  readonly writable: readonly string[];
  readonly mounts?: readonly MountSpec[];
  readonly limits?: LimitsSpec;
  readonly security?: SecuritySpec;
  readonly restart?: RestartSpec;
  readonly logs?: LogsSpec;
  readonly health?: HealthSpec;
};
