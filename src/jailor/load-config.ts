import { readFileSync } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import { parseFullConfig } from '../base/full-config.ts';
import type { FullConfig } from '../base/sandbox-config.ts';

/** Reads and checks a full configuration. @param file `-` is standard input. */
export function loadFullConfig(file: string): FullConfig {
  return parseFullConfig(read(file), file === '-' ? '(standard input)' : file);
}

function read(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (cause) {
    throw new ComicranError('config.missing-file', `the configuration ${file} cannot be read`, { cause });
  }
}
