/** The tables of the record as SQLite has them, of this version and made so from earlier ones; and their rows as values. */
import type { DatabaseSync } from 'node:sqlite';
import { ComicranError } from '../base/errors.ts';
import type { Announcement, Location, Service } from './tables.ts';

const FORMAT_VERSION = 3;

const SCHEMA_1 = `
  CREATE TABLE locations (
    sandbox TEXT PRIMARY KEY, address TEXT NOT NULL UNIQUE, vm TEXT NOT NULL, vm_address TEXT NOT NULL,
    epoch INTEGER NOT NULL, migration_id TEXT NOT NULL
  ) STRICT;
  CREATE TABLE services (
    port INTEGER NOT NULL, protocol TEXT NOT NULL CHECK (protocol IN ('udp', 'tcp')),
    sandbox TEXT NOT NULL REFERENCES locations, sandbox_address TEXT NOT NULL, sandbox_port INTEGER NOT NULL,
    PRIMARY KEY (port, protocol)
  ) STRICT;
  CREATE TABLE ended (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL) STRICT;
  INSERT INTO ended VALUES (1, 0);
`;

/** `boot` is the node's when the announcement was written. */
const SCHEMA_2 = `
  CREATE TABLE announcements (
    sandbox TEXT PRIMARY KEY REFERENCES locations, address TEXT NOT NULL, migration_id TEXT NOT NULL,
    epoch INTEGER NOT NULL, from_vm TEXT NOT NULL, to_vm TEXT NOT NULL, from_link TEXT NOT NULL,
    to_link TEXT NOT NULL, until_ms INTEGER NOT NULL, boot TEXT NOT NULL, from_address TEXT NOT NULL
  ) STRICT;
`;

/** Before, packets went where the owner was. */
const SCHEMA_3 = `
  ALTER TABLE locations ADD COLUMN via TEXT NOT NULL DEFAULT '';
  UPDATE locations SET via = vm_address;
  ALTER TABLE announcements ADD COLUMN late_route INTEGER NOT NULL DEFAULT 0;
`;

const SCHEMAS = [SCHEMA_1, SCHEMA_2, SCHEMA_3] as const;

export type Row = Readonly<Record<string, unknown>>;

const text = (row: Row, column: string): string => String(row[column]);
export const integer = (row: Row, column: string): bigint => BigInt(row[column] as bigint);

export function locationOf(row: Row): Location {
  return {
    sandbox: text(row, 'sandbox'),
    address: text(row, 'address'),
    vm: text(row, 'vm'),
    vmAddress: text(row, 'vm_address'),
    epoch: integer(row, 'epoch'),
    migrationId: text(row, 'migration_id'),
    via: text(row, 'via'),
  };
}

export function serviceOf(row: Row): Service {
  return {
    port: Number(integer(row, 'port')),
    protocol: text(row, 'protocol') === 'tcp' ? 'tcp' : 'udp',
    sandbox: text(row, 'sandbox'),
    sandboxAddress: text(row, 'sandbox_address'),
    sandboxPort: Number(integer(row, 'sandbox_port')),
  };
}

/** Where the destination could take, and the node has been started anew since, what it was told is not known. */
export function announcementOf(row: Row, bootId: string): Announcement {
  const toLink = text(row, 'to_link');
  return {
    sandbox: text(row, 'sandbox'),
    address: text(row, 'address'),
    migrationId: text(row, 'migration_id'),
    epoch: integer(row, 'epoch'),
    from: text(row, 'from_vm'),
    to: text(row, 'to_vm'),
    fromAddress: text(row, 'from_address'),
    fromLink: text(row, 'from_link'),
    toLink,
    untilMs: Number(integer(row, 'until_ms')),
    undecided: toLink !== '' && text(row, 'boot') !== bootId,
    lateRoute: integer(row, 'late_route') !== 0n,
  };
}

/** @param path names the file in errors. @throws ComicranError, and what SQLite throws for a file that is none of its. */
export function prepareDatabase(database: DatabaseSync, path: string): void {
  // The lock is taken by the first access and held until the file is closed or the process is gone.
  database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  database.exec('PRAGMA wal_autocheckpoint = 0');
  database.exec('PRAGMA foreign_keys = ON; BEGIN EXCLUSIVE');
  const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
  if (version > FORMAT_VERSION) {
    throw new ComicranError('config.invalid', `${path} is of version ${version}; this program knows ${FORMAT_VERSION}`);
  }
  for (const schema of SCHEMAS.slice(version)) database.exec(schema);
  database.exec(`PRAGMA user_version = ${FORMAT_VERSION}`);
  database.exec('COMMIT');
  // Whoever writes says what is to be waited for.
  database.exec('PRAGMA synchronous = NORMAL');
}
