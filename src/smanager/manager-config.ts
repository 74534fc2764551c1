import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { ComicranError } from '../base/errors.ts';
import { labManagerFile, labPlace } from '../base/lab-place.ts';

/** Where the daemons are and who the operator is. Written by hand or by `comicran lab up`. */
const ManagerConfigSchema = z.strictObject({
  sdn: z.strictObject({ endpoint: z.string() }),
  vms: z.record(z.string(), z.strictObject({ endpoint: z.string(), address: z.string().optional() })),
  /** Directory with ca.pem, smanager.pem and smanager.key. */
  pki: z.string(),
  /** Network namespace from which the daemons are reached; absent: the one that smanager is in. */
  netns: z.string().optional(),
});

export type ManagerConfig = z.infer<typeof ManagerConfigSchema>;

export const DEFAULT_CONFIG_FILE = '/etc/comicran/manager.json';

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
    return readFileSync(file, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    const hint = 'The lab belongs to root: run this as root, for example with sudo.';
    throw new ComicranError('config.missing-file', `cannot read ${file}`, { cause, hint });
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

export function parseManagerConfig(text: string, file: string): ManagerConfig {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ComicranError('config.invalid', `${file} is not JSON`, { cause });
  }
  const result = ManagerConfigSchema.safeParse(json);
  if (!result.success) {
    throw new ComicranError('config.invalid', `${file}: ${z.prettifyError(result.error).replaceAll('\n', ' ')}`);
  }
  return result.data;
}
