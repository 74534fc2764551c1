import { isIPv4 } from 'node:net';
import { z } from 'zod';
import { parseEndpoint } from '../api/endpoint.ts';
import { ComicranError } from '../base/errors.ts';
import { placeIn, repeatedKey } from '../base/json-keys.ts';
import { labManagerFile, labPlace } from '../base/lab-place.ts';
import { readTextFile } from '../base/text-file.ts';

/** Some ten thousand machines. */
const MANAGER_CONFIG_MAX_BYTES = 1024 * 1024;
const LONGEST_PROBLEM = 300;

const endpoint = z.string().refine(isEndpoint, 'an IPv4 address and a port, such as 10.77.0.2:7420');
/** As it stands in certificates and messages. */
const vmName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'a name of letters, digits, dots, - and _');

/** Where the daemons are and who the operator is. Written by hand or by `comicran lab up`. */
const ManagerConfigSchema = z.strictObject({
  sdn: z.strictObject({ endpoint }),
  vms: z.record(vmName, z.strictObject({ endpoint, address: z.string().refine(isIPv4, 'an IPv4 address').optional() })),
  /** Directory with ca.pem, smanager.pem and smanager.key. */
  pki: z.string().regex(/^[^\0]{1,4095}$/, 'a directory'),
  /** Network namespace from which the daemons are reached; absent: the one that smanager is in. */
  netns: z
    .string()
    .regex(/^[^\0]{1,4095}$/, 'the path of a network namespace')
    .optional(),
  /** How many times as long as usual the daemons are given to answer, where machines are slow; absent: 1. */
  patience: z.number().min(1).max(100).optional(),
});

export type ManagerConfig = z.infer<typeof ManagerConfigSchema>;

const DEFAULT_CONFIG_FILE = '/etc/comicran/manager.json';

export type ConfigSources = {
  /** From the command line. */
  readonly option: string | undefined;
  /** From the environment (COMICRAN_CONFIG). */
  readonly environment: string | undefined;
  /** Which lab is meant, from the environment (COMICRAN_LAB). */
  readonly lab?: string | undefined;
};

function tryRead(file: string): string | undefined {
  try {
    const hint = 'The lab belongs to root: run this as root, for example with sudo.';
    return readTextFile(file, MANAGER_CONFIG_MAX_BYTES, hint);
  } catch (thrown) {
    const { cause } = thrown as Error;
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw thrown;
  }
}

/** The configuration that was asked for, or else the operator's own, or else that of a running lab. */
export function loadManagerConfig(sources: ConfigSources): ManagerConfig {
  const asked = sources.option ?? sources.environment;
  const candidates = asked === undefined ? [DEFAULT_CONFIG_FILE, labManagerFile(labPlace(sources.lab))] : [asked];
  for (const file of candidates) {
    const text = tryRead(file);
    if (text !== undefined) return parseManagerConfig(text, file);
  }
  if (asked !== undefined)
    throw new ComicranError('config.missing-file', `${asked} does not exist`, {
      hint: 'Name another file with --config or COMICRAN_CONFIG, or none for a running lab.',
    });
  throw new ComicranError('config.missing-file', `no machines are known: neither ${candidates.join(' nor ')} exists`, {
    hint: "Start a lab with 'comicran lab up', or name a file with --config or COMICRAN_CONFIG.",
  });
}

/** @throws ComicranError config.invalid */
export function parseManagerConfig(text: string, file: string): ManagerConfig {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw invalid(`${file} is not JSON`, cause);
  }
  const repeated = repeatedKey(text);
  if (repeated !== undefined) {
    const { line, column } = placeIn(text, repeated.offset);
    throw invalid(`${file}:${line}:${column}: the key ${repeated.key.slice(0, 60)} stands here twice`);
  }
  const result = ManagerConfigSchema.safeParse(json);
  if (!result.success) {
    const said = z.prettifyError(result.error).replaceAll('\n', ' ');
    throw invalid(`${file}: ${said.length <= LONGEST_PROBLEM ? said : `${said.slice(0, LONGEST_PROBLEM)}…`}`);
  }
  const [first, second] = sharing(result.data);
  if (first !== undefined) throw invalid(`${file}: ${first} and ${second} have the same endpoint`);
  return result.data;
}

function invalid(problem: string, cause?: unknown): ComicranError {
  const hint = "Correct it; docs/operations.md shows such a file, and 'comicran lab up' writes one.";
  return new ComicranError('config.invalid', problem, { hint, cause });
}

/** Two daemons that cannot both be where the file says. */
function sharing({ sdn, vms }: ManagerConfig): [string, string] | [] {
  const known = new Map([[sdn.endpoint, 'sdn']]);
  for (const [name, vm] of Object.entries(vms)) {
    const other = known.get(vm.endpoint);
    if (other !== undefined) return [other, name];
    known.set(vm.endpoint, name);
  }
  return [];
}

function isEndpoint(text: string): boolean {
  try {
    return parseEndpoint(text).port > 0;
  } catch {
    return false;
  }
}
