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
};

export type SymlinkEntry = { readonly path: string; readonly target: string };

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
};
