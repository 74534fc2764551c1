/** Needs root. A peer that is gone without a word, with its machine or the way to it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { promises } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { ipv4Bytes } from '../../src/base/ipv4.ts';
import { inNetns } from '../../src/linux/netns.ts';
import { setLink } from '../../src/linux/rtnetlink/index.ts';
import { SecureChannel } from '../../src/sdaemon/channel/channel.ts';
import {
  connectToPeer,
  DEFAULT_TUNING,
  type PeerConnection,
  PeerListener,
} from '../../src/sdaemon/channel/establish.ts';
import { Readiness } from '../../src/sdaemon/readiness.ts';
import { needs } from '../support/needs.ts';
import { joinNetns, makeNetns } from './support.ts';

const MAX_MESSAGE_BYTES = 1 << 20;
const SILENCE_MS = 1000;

describe('a silent peer', { skip: needs('root') }, () => {
  let undone: (() => void)[] = [];
  const undo = (step: () => void): void => void undone.push(step);
  const readiness = new Readiness(() => performance.now());
  beforeEach(async () => void (await promises.stat('/')));
  afterEach(() => {
    for (const step of undone.reverse()) step();
    undone = [];
  });

  async function connected() {
    const [one, other] = [makeNetns(undo), makeNetns(undo)];
    joinNetns({ ...one, link: 'near', address: '10.3.0.1' }, { ...other, link: 'far', address: '10.3.0.2' });
    const tuning = { ...DEFAULT_TUNING, silenceMs: SILENCE_MS };
    const options = { key: randomBytes(32), maxMessageBytes: MAX_MESSAGE_BYTES, readiness, tuning };
    const address = { address: ipv4Bytes('10.3.0.2'), port: 0 };
    const listener = inNetns(other.netns, () => new PeerListener(address, options));
    undo(() => listener.close());
    const to = { ...address, port: listener.port };
    const { connecting } = inNetns(one.netns, () => ({ connecting: connectToPeer(to, 20_000, options) }));
    const channelOn = (connection: PeerConnection) => {
      const codec = { encode: (bytes: Uint8Array) => [bytes], decode: (bytes: Uint8Array) => bytes };
      const channel = new SecureChannel<Uint8Array, Uint8Array>(connection, codec, MAX_MESSAGE_BYTES, readiness);
      undo(() => channel.close());
      return channel;
    };
    const [a, b] = (await Promise.all([connecting, listener.accept(20_000)])).map(channelOn);
    await a!.send(Buffer.from('hello'));
    assert.equal(Buffer.from(await b!.receive(20_000)).toString(), 'hello');
    return { a: a!, cut: () => one.routes.apply(setLink('near', { up: false })) };
  }

  test('is noticed by one who waits for it', async () => {
    const { a, cut } = await connected();
    cut();
    await assert.rejects(a.receive(60_000), { code: 'peer.died' });
  });

  test('is noticed by one who sends to it', async () => {
    const { a, cut } = await connected();
    cut();
    const sendALot = async (): Promise<void> => {
      for (;;) await a.send(Buffer.alloc(MAX_MESSAGE_BYTES));
    };
    await assert.rejects(sendALot(), { code: 'peer.died' });
  });
});
