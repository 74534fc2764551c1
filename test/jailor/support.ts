/** Sandboxes for tests, made of what every Debian has, without configer. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach } from 'node:test';
import type { FileEntry, FullConfig, SymlinkEntry } from '../../src/base/sandbox-config.ts';
import { tagOf } from '../../src/jailor/naming.ts';
import { NamespaceReturn } from '../../src/linux/namespaces.ts';
import { addNamedNetns, deleteNamedNetns, enterNetworkNamespace } from '../../src/linux/netns.ts';
import { addAddress, getLink, RouteSocket, setLink } from '../../src/linux/rtnetlink/index.ts';
import { type Inventory, leftBehind, takeInventory } from '../support/inventory.ts';

const VM_NETNS = 'cr-jailor-test';
/** An address of the VM. */
export const VM_ADDRESS = '192.0.2.1';
export const PROGRAM = join(import.meta.dirname, '../../bin/comicran');

/** The VM's programs that test sandboxes run, with the libraries that `ldd` names. */
const TOOLS = [
  '/bin/sh',
  '/bin/cat',
  '/bin/ls',
  '/bin/sleep',
  '/bin/hostname',
  '/usr/bin/id',
  '/usr/bin/touch',
  '/usr/bin/socat',
];

/** Why these tests cannot run here, or false. */
export const needs: string | false =
  process.geteuid?.() !== 0
    ? 'needs root'
    : (TOOLS.map((tool) => (existsSync(tool) ? '' : `needs ${tool}`)).find((problem) => problem !== '') ?? false);
if (needs !== false && process.env['MUST_RUN'] === '1') throw new Error(`jailor: ${needs}`);

const hashes = new Map<string, FileEntry>();

export function fileEntry(path: string, mode = 0o755): FileEntry {
  const known = hashes.get(path);
  if (known !== undefined) return known;
  const source = realpathSync(path);
  const sha256 = createHash('sha256').update(readFileSync(source)).digest('hex');
  const entry = { path, source, sha256, size: statSync(source).size, mode };
  hashes.set(path, entry);
  return entry;
}

/** Libraries and loader, by the paths that the loader looks for them at. */
function libraries(program: string): string[] {
  const text = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...text.matchAll(/(\/[^ ]+) \(0x/g)].map((match) => match[1]!);
}

let tools: { readonly files: readonly FileEntry[]; readonly symlinks: readonly SymlinkEntry[] } | undefined;

function toolFiles(): NonNullable<typeof tools> {
  tools ??= {
    files: [...new Set([...TOOLS, ...TOOLS.flatMap(libraries)])].map((path) => fileEntry(path)),
    symlinks: [{ path: '/etc/alias', target: '/bin/sh' }],
  };
  return tools;
}

export type TestSandbox = {
  readonly id?: string;
  readonly address?: string;
  /** Run by `sh -c`. */
  readonly script?: string;
  readonly change?: Partial<FullConfig>;
};

export function testConfig({
  id = 'jailtest',
  address = '10.88.77.5',
  script = 'true',
  change = {},
}: TestSandbox): FullConfig {
  return {
    version: 1,
    id,
    process: {
      executable: '/bin/sh',
      arguments: ['-c', script],
      environment: { PATH: '/bin:/usr/bin', GREETING: 'hello' },
      workingDirectory: '/',
    },
    network: { address, ports: [] },
    files: toolFiles().files,
    symlinks: toolFiles().symlinks,
    directories: [],
    writable: [],
    ...change,
  };
}

/** {@link testConfig} with so many names for one file that it is `bytes` long as JSON, or a little longer. */
export function largeConfig(bytes: number): FullConfig {
  const config = testConfig({});
  const file = { ...fileEntry('/bin/cat'), mode: 0o644 };
  const each = JSON.stringify({ ...file, path: '/data/00000' }).length;
  const files = Array.from({ length: Math.ceil(bytes / each) }, (_, n) => ({
    ...file,
    path: `/data/${String(n).padStart(5, '0')}`,
  }));
  return { ...config, files: [...config.files, ...files] };
}

/** A state directory of the test's own. */
export function makeStateDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'comicran-jailor-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Ids that tests give their sandboxes. */
const IDS = ['jailtest', 'one', 'two', 'three', 'four'];

/** What sandboxes of this state directory could leave behind, and nothing of what others do on this machine meanwhile. */
export function takeSandboxInventory(stateDirectory: string): Inventory {
  const {
    links = [],
    mounts = [],
    cgroups = [],
    processes = [],
    files = [],
  } = takeInventory([join(stateDirectory, 'sandboxes')]);
  const tags = IDS.map((id) => tagOf(stateDirectory, id));
  return {
    links,
    mounts: mounts.filter((path) => path.startsWith(stateDirectory)),
    cgroups: cgroups.filter((path) => tags.some((tag) => path.endsWith(tag))),
    processes: processes.filter((command) => command.includes(stateDirectory)),
    files,
  };
}

export type Finished = {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
};

/**
 * Puts the whole test program into a network namespace of its own, which stands for the VM: what it starts is in it too.
 * To be called before anything is started.
 */
export function becomeVm(): { close(): void } {
  deleteNamedNetns(VM_NETNS);
  addNamedNetns(VM_NETNS);
  const back = new NamespaceReturn(['net']);
  enterNetworkNamespace({ name: VM_NETNS });
  using socket = new RouteSocket();
  socket.applyAll([
    setLink('lo', { up: true }),
    addAddress({ link: getLink(socket, 'lo').index, address: VM_ADDRESS, prefixLength: 32 }),
  ]);
  return {
    close: () => {
      back.comeBack();
      back.close();
      deleteNamedNetns(VM_NETNS);
    },
  };
}

/**
 * For a `describe`: its tests have a VM ({@link becomeVm}) and a state directory, with a directory for sandboxes in it.
 *
 * @param make is called once, in the VM, with the state directory.
 * @returns the state directory; its path is known when tests run.
 */
export function inVm(make: (path: string) => void = () => undefined): { readonly path: string } {
  let vm: ReturnType<typeof becomeVm> | undefined;
  let state: ReturnType<typeof makeStateDirectory> | undefined;
  const place = {
    get path(): string {
      assert.ok(state !== undefined, 'a test asks for it');
      return state.path;
    },
  };
  before(() => {
    vm = becomeVm();
    state = makeStateDirectory();
    mkdirSync(join(state.path, 'sandboxes'));
    make(state.path);
  });
  after(() => {
    state?.remove();
    vm?.close();
  });
  return place;
}

/** For a `describe`: each of its tests leaves nothing behind. @param tidy is called first, after each test. */
export function leavesNothing(
  state: { readonly path: string },
  tidy: () => Promise<void> = async () => undefined,
): void {
  let inventory: Inventory = {};
  beforeEach(() => {
    inventory = takeSandboxInventory(state.path);
  });
  afterEach(async () => {
    await tidy();
    assert.deepEqual(leftBehind(inventory, takeSandboxInventory(state.path)), []);
  });
}

/** `comicran jailor run` in the foreground. */
export function startForeground(stateDirectory: string, config: FullConfig, words: readonly string[] = []) {
  const file = join(stateDirectory, `${config.id}.full.json`);
  writeFileSync(file, JSON.stringify(config));
  const child = spawn(PROGRAM, ['jailor', 'run', file, '--state', stateDirectory, ...words], { stdio: 'pipe' });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const finished: Promise<Finished> = once(child, 'close').then(([code, signal]) => ({ code, signal, stdout, stderr }));
  const printed = async (wanted: RegExp): Promise<void> => {
    while (!wanted.test(stdout)) {
      const more = await Promise.race([once(child.stdout, 'data'), finished]);
      if (!Array.isArray(more) && !wanted.test(stdout)) throw new Error(`ended without ${wanted}: ${stdout}${stderr}`);
    }
  };
  return { child, finished, printed };
}

export function runForeground(stateDirectory: string, config: FullConfig): Promise<Finished> {
  return startForeground(stateDirectory, config).finished;
}
