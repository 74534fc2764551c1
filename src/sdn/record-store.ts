/**
 * The durable record: who owns which sandbox, and which services there are. One SQLite file; a write has reached the disk
 * when it returns (write-ahead log, synchronous=FULL: about 0.3 ms on a virtual disk), whole or not at all.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { unreachable } from '../base/assert.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import { type Edit, type Location, type Service, serviceKey, type Tables } from './tables.ts';

export interface RecordStore {
  load(): Tables;
  /** All of the edits or none. On return they survive the loss of power. */
  write(edits: readonly Edit[]): void;
  /** Idempotent. */
  close(): void;
}

const FORMAT_VERSION = 1;
const FILE_NAME = 'record.sqlite';

const SCHEMA = `
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
  PRAGMA user_version = ${FORMAT_VERSION};
`;

type Row = Readonly<Record<string, unknown>>;

const text = (row: Row, column: string): string => String(row[column]);
const integer = (row: Row, column: string): bigint => BigInt(row[column] as bigint);

function locationOf(row: Row): Location {
  return {
    sandbox: text(row, 'sandbox'),
    address: text(row, 'address'),
    vm: text(row, 'vm'),
    vmAddress: text(row, 'vm_address'),
    epoch: integer(row, 'epoch'),
    migrationId: text(row, 'migration_id'),
  };
}

function serviceOf(row: Row): Service {
  return {
    port: Number(integer(row, 'port')),
    protocol: text(row, 'protocol') === 'tcp' ? 'tcp' : 'udp',
    sandbox: text(row, 'sandbox'),
    sandboxAddress: text(row, 'sandbox_address'),
    sandboxPort: Number(integer(row, 'sandbox_port')),
  };
}

class SqliteRecordStore implements RecordStore {
  readonly #database: DatabaseSync;
  readonly #putLocation: StatementSync;
  readonly #removeLocation: StatementSync;
  readonly #putService: StatementSync;
  readonly #removeService: StatementSync;
  readonly #putEnded: StatementSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#putLocation = database.prepare(
      `INSERT INTO locations VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (sandbox) DO UPDATE SET
       address = excluded.address, vm = excluded.vm, vm_address = excluded.vm_address,
       epoch = excluded.epoch, migration_id = excluded.migration_id`,
    );
    this.#removeLocation = database.prepare('DELETE FROM locations WHERE sandbox = ?');
    this.#putService = database.prepare(
      `INSERT INTO services VALUES (?, ?, ?, ?, ?) ON CONFLICT (port, protocol) DO UPDATE SET
       sandbox = excluded.sandbox, sandbox_address = excluded.sandbox_address, sandbox_port = excluded.sandbox_port`,
    );
    this.#removeService = database.prepare('DELETE FROM services WHERE port = ? AND protocol = ?');
    this.#putEnded = database.prepare('UPDATE ended SET epoch = max(epoch, ?)');
  }

  #rows(query: string): Row[] {
    const statement = this.#database.prepare(query);
    statement.setReadBigInts(true);
    return statement.all();
  }

  load(): Tables {
    const locations = this.#rows('SELECT * FROM locations').map(locationOf);
    const services = this.#rows('SELECT * FROM services').map(serviceOf);
    const [ended] = this.#rows('SELECT epoch FROM ended');
    return {
      locations: new Map(locations.map((location) => [location.sandbox, location])),
      services: new Map(services.map((service) => [serviceKey(service), service])),
      endedEpoch: ended === undefined ? 0n : integer(ended, 'epoch'),
    };
  }

  #writeOne(edit: Edit): void {
    switch (edit.kind) {
      case 'put-location': {
        const { sandbox, address, vm, vmAddress, epoch, migrationId } = edit.location;
        this.#putLocation.run(sandbox, address, vm, vmAddress, epoch, migrationId);
        return;
      }
      case 'remove-location':
        this.#removeLocation.run(edit.location.sandbox);
        this.#putEnded.run(edit.location.epoch);
        return;
      case 'put-service': {
        const { port, protocol, sandbox, sandboxAddress, sandboxPort } = edit.service;
        this.#putService.run(port, protocol, sandbox, sandboxAddress, sandboxPort);
        return;
      }
      case 'remove-service':
        this.#removeService.run(edit.service.port, edit.service.protocol);
        return;
      default:
        unreachable(edit);
    }
  }

  write(edits: readonly Edit[]): void {
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      for (const edit of edits) this.#writeOne(edit);
      this.#database.exec('COMMIT');
    } catch (cause) {
      if (this.#database.isOpen && this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw new ComicranError('sdn.unreachable', `the sdn cannot write its record: ${messageOf(cause)}`, {
        cause,
        hint: 'Is the disk of the sdn node full? Nothing has been changed.',
      });
    }
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}

function prepareDatabase(database: DatabaseSync, path: string): void {
  // The lock is taken by the first access and held until the file is closed or the process is gone.
  database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  database.exec('PRAGMA foreign_keys = ON; BEGIN EXCLUSIVE');
  const version = database.prepare('PRAGMA user_version').get()?.['user_version'];
  if (version !== 0 && version !== FORMAT_VERSION) {
    throw new ComicranError('config.invalid', `${path} is of version ${version}; this program knows ${FORMAT_VERSION}`);
  }
  if (version === 0) database.exec(SCHEMA);
  database.exec('COMMIT');
}

/** Whether an sdn has ever kept its record in a directory. */
export function hasRecord(directory: string): boolean {
  return existsSync(join(directory, FILE_NAME));
}

/**
 * Opens the record in a directory, which is made if it is not there. One process at a time.
 * @throws ComicranError where another process has it, or the file is damaged.
 */
export function openRecordStore(directory: string): RecordStore {
  const path = join(directory, FILE_NAME);
  let database: DatabaseSync | undefined;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    database = new DatabaseSync(path);
    prepareDatabase(database, path);
    return new SqliteRecordStore(database);
  } catch (cause) {
    if (database?.isOpen === true) database.close();
    if (cause instanceof ComicranError) throw cause;
    if (/database is locked/.test(messageOf(cause))) {
      throw new ComicranError('usage', `another sdn has the state directory ${directory}`, {
        cause,
        hint: 'Stop it first, or give this one a directory of its own with --state.',
      });
    }
    throw new ComicranError('config.invalid', `the record ${path} cannot be read: ${messageOf(cause)}`, {
      cause,
      hint: 'Put back a copy of the file, or move it away to begin with no sandboxes known.',
    });
  }
}
