/**
 * The durable record: who owns which sandbox, which services there are, and which migrations are announced. One SQLite
 * file with a write-ahead log; a write is whole or not at all. Measured on a virtual disk, in microseconds (least,
 * median): a commit 6, 11; with it on the disk (synchronous=FULL) 140, 190. Other disks take milliseconds for that.
 */
import { closeSync, existsSync, fdatasync, fdatasyncSync, mkdirSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { unreachable } from '../base/assert.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import { readBootId } from '../linux/boot-id.ts';
import { announcementOf, integer, locationOf, prepareDatabase, type Row, serviceOf } from './record-schema.ts';
import { type Edit, serviceKey, type Tables } from './tables.ts';

export interface RecordStore {
  load(): Tables;
  /** All of the edits or none. On return they survive the loss of power, and so do all writes before. */
  write(edits: readonly Edit[]): void;
  /** As {@link write}, but on return they survive the end of this program alone, kill -9 too: {@link flush} is to follow. */
  writeSoon(edits: readonly Edit[]): void;
  /** On return, or when `done` is told, all writes before survive the loss of power. Without a failure of the disk. */
  flush(done?: (failure: Error | undefined) => void): void;
  /** Writes what is there already, in the way of {@link writeSoon}. */
  rehearse(edit: Edit): void;
  /** Idempotent. */
  close(): void;
}

const FILE_NAME = 'record.sqlite';

/** The log is emptied into the database beyond this size, never in a write that somebody waits for. */
const LOG_BYTES = 1 << 20;

class SqliteRecordStore implements RecordStore {
  readonly #database: DatabaseSync;
  readonly #logPath: string;
  readonly #bootId: string;
  /** Of the log, once it has had to be synchronised apart from a write; -1 before. */
  #log = -1;
  #synchronising = 0;
  #unflushed = false;
  readonly #setOwner: StatementSync;
  readonly #putAnnouncement: StatementSync;
  readonly #removeAnnouncement: StatementSync;
  readonly #putLocation: StatementSync;
  readonly #removeLocation: StatementSync;
  readonly #putService: StatementSync;
  readonly #removeService: StatementSync;
  readonly #putEnded: StatementSync;

  constructor(database: DatabaseSync, path: string, bootId: string) {
    this.#database = database;
    this.#logPath = `${path}-wal`;
    this.#bootId = bootId;
    this.#setOwner = database.prepare(
      'UPDATE locations SET vm = ?, vm_address = ?, epoch = ?, migration_id = ?, via = ? WHERE sandbox = ?',
    );
    this.#putAnnouncement = database.prepare('REPLACE INTO announcements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
    this.#removeAnnouncement = database.prepare('DELETE FROM announcements WHERE sandbox = ?');
    this.#putLocation = database.prepare(
      `INSERT INTO locations VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sandbox) DO UPDATE SET
       address = excluded.address, vm = excluded.vm, vm_address = excluded.vm_address,
       epoch = excluded.epoch, migration_id = excluded.migration_id, via = excluded.via`,
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
    const announcements = this.#rows('SELECT * FROM announcements').map((row) => announcementOf(row, this.#bootId));
    const [ended] = this.#rows('SELECT epoch FROM ended');
    return {
      locations: new Map(locations.map((location) => [location.sandbox, location])),
      services: new Map(services.map((service) => [serviceKey(service), service])),
      announcements: new Map(announcements.map((announcement) => [announcement.sandbox, announcement])),
      endedEpoch: ended === undefined ? 0n : integer(ended, 'epoch'),
    };
  }

  #writeOne(edit: Edit): void {
    switch (edit.kind) {
      case 'put-location': {
        const { sandbox, address, vm, vmAddress, epoch, migrationId, via } = edit.location;
        this.#putLocation.run(sandbox, address, vm, vmAddress, epoch, migrationId, via);
        return;
      }
      case 'set-owner': {
        const { sandbox, vm, vmAddress, epoch, migrationId, via } = edit.location;
        this.#setOwner.run(vm, vmAddress, epoch, migrationId, via, sandbox);
        return;
      }
      case 'put-announcement': {
        const { sandbox, address, migrationId, epoch, from, to, fromAddress } = edit.announcement;
        const { fromLink, toLink, untilMs, lateRoute } = edit.announcement;
        const boot = edit.announcement.undecided ? '' : this.#bootId;
        const until = BigInt(Math.round(untilMs));
        const rest = [fromLink, toLink, until, boot, fromAddress, lateRoute ? 1 : 0] as const;
        this.#putAnnouncement.run(sandbox, address, migrationId, epoch, from, to, ...rest);
        return;
      }
      case 'remove-announcement':
        this.#removeAnnouncement.run(edit.announcement.sandbox);
        return;
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
    this.#guarded(() => {
      // Before, because the first write behind it costs more.
      if ((statSync(this.#logPath, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES)
        this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      this.#database.exec('PRAGMA synchronous = FULL');
    });
    try {
      this.#transaction(edits);
    } finally {
      if (this.#database.isOpen) this.#database.exec('PRAGMA synchronous = NORMAL');
    }
    this.#unflushed = false;
  }

  writeSoon(edits: readonly Edit[]): void {
    this.#transaction(edits);
    this.#unflushed = true;
  }

  flush(done?: (failure: Error | undefined) => void): void {
    if (!this.#unflushed || !this.#database.isOpen) {
      done?.(undefined);
      return;
    }
    // A descriptor of its own is safe for the log: SQLite's locks are on the database file alone.
    if (this.#log < 0) this.#log = openSync(this.#logPath, 'r');
    if (done === undefined) {
      fdatasyncSync(this.#log);
      this.#unflushed = false;
      return;
    }
    this.#synchronising++;
    // Until it is done, whoever needs it synchronises for himself: `unflushed` stays.
    fdatasync(this.#log, (failure) => {
      this.#synchronising--;
      this.#closeLog();
      done(failure ?? undefined);
    });
  }

  rehearse(edit: Edit): void {
    this.#transaction([edit]);
  }

  #transaction(edits: readonly Edit[]): void {
    this.#guarded(() => {
      const [only, ...others] = edits;
      if (only?.kind === 'set-owner' && others.length === 0) {
        // One statement is a transaction.
        this.#writeOne(only);
        return;
      }
      this.#database.exec('BEGIN IMMEDIATE');
      for (const edit of edits) this.#writeOne(edit);
      this.#database.exec('COMMIT');
    });
  }

  #guarded(write: () => void): void {
    try {
      write();
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
    this.#closeLog();
  }

  #closeLog(): void {
    if (this.#log < 0 || this.#synchronising > 0 || this.#database.isOpen) return;
    closeSync(this.#log);
    this.#log = -1;
  }
}

/** Whether an sdn has ever kept its record in a directory. */
export function hasRecord(directory: string): boolean {
  return existsSync(join(directory, FILE_NAME));
}

/** A record that is gone when it is closed. */
export function openMemoryStore(): RecordStore {
  const path = ':memory:';
  const database = new DatabaseSync(path);
  prepareDatabase(database, path);
  return new SqliteRecordStore(database, path, '');
}

/**
 * Opens the record in a directory, which is made if it is not there. One process at a time.
 * @param bootId changes when the node is started, and only then: what was not on the disk is lost with it.
 * @throws ComicranError where another process has it, or the file is damaged.
 */
export function openRecordStore(directory: string, bootId = readBootId()): RecordStore {
  const path = join(directory, FILE_NAME);
  let database: DatabaseSync | undefined;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    database = new DatabaseSync(path);
    prepareDatabase(database, path);
    return new SqliteRecordStore(database, path, bootId);
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
