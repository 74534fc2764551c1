/**
 * Makes the authority and the certificates of an installation. Only the pki commands and the lab load this file: it needs
 * libraries that no daemon needs.
 *
 * A directory of certificates holds `ca.pem` and `ca.key`, and for each program `<name>.pem` and `<name>.key`, where the
 * name is `sdn`, `smanager`, or a virtual machine's. Keys are readable by their owner alone. `ca.key` can make new members:
 * it stays with the operator; a machine needs `ca.pem` and its own two files.
 */
import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { ComicranError, messageOf } from '../base/errors.ts';
import { isVmName, type Peer, peerName, shortName } from './names.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;
/** Certificates begin in the past, because the clocks of the machines differ. */
const BACKDATE_MS = 3_600_000;
const AUTHORITY_NAME = 'CN=COMIC-RAN authority';

export type PkiOptions = {
  readonly directory: string;
  readonly vms: readonly string[];
  /** Absent: 825. */
  readonly validDays?: number;
  /** Replaces an authority that is there, and with it every certificate of it. */
  readonly force?: boolean;
  readonly now?: Date;
};

type Authority = { readonly certificate: x509.X509Certificate; readonly key: webcrypto.CryptoKey };

type Period = { readonly notBefore: Date; readonly notAfter: Date };

function periodOf(validDays: number, now: Date): Period {
  return { notBefore: new Date(now.getTime() - BACKDATE_MS), notAfter: new Date(now.getTime() + validDays * DAY_MS) };
}

/** Positive and of 16 bytes (RFC 5280 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString('hex');
}

/** Written whole or not at all, and never readable by others for a moment. */
function writeFileWhole(path: string, text: string, mode: number): void {
  const draft = `${path}.new`;
  writeFileSync(draft, text, { mode });
  chmodSync(draft, mode);
  renameSync(draft, path);
}

async function keyPem(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), x509.PemConverter.PrivateKeyTag);
}

async function writePair(
  directory: string,
  name: string,
  certificate: x509.X509Certificate,
  key: webcrypto.CryptoKey,
): Promise<void> {
  writeFileWhole(join(directory, `${name}.key`), `${await keyPem(key)}\n`, 0o600);
  writeFileWhole(join(directory, `${name}.pem`), `${certificate.toString('pem')}\n`, 0o644);
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function makeAuthority(directory: string, period: Period): Promise<Authority> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: AUTHORITY_NAME,
    ...period,
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  await writePair(directory, 'ca', certificate, keys.privateKey);
  return { certificate, key: keys.privateKey };
}

async function makeMember(directory: string, authority: Authority, peer: Peer, period: Period): Promise<void> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: `CN=${peerName(peer)}`,
    issuer: authority.certificate.subject,
    ...period,
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: authority.key,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      // Daemons are both: they serve, and they call each other.
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: peerName(peer) }]),
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  await writePair(directory, shortName(peer), certificate, keys.privateKey);
}

function checkVmNames(vms: readonly string[]): void {
  for (const vm of vms) {
    if (isVmName(vm)) continue;
    throw new ComicranError('usage', `'${vm}' cannot be the name of a virtual machine`, {
      hint: "Use lower-case letters, digits and dashes, up to 63 of them; 'ca', 'sdn' and 'smanager' are taken.",
    });
  }
}

/** Makes an authority, and certificates for sdn, smanager and each virtual machine. */
export async function initPki(options: PkiOptions): Promise<void> {
  const { directory, vms, validDays = 825, force = false, now = new Date() } = options;
  checkVmNames(vms);
  if (!force && existsSync(join(directory, 'ca.pem'))) {
    throw new ComicranError('pki.invalid', `${directory} has an authority already`, {
      hint:
        `'comicran pki add-vm ${directory} NAME' adds a machine to it; ` +
        'with --force a new authority replaces it, and every program needs its new files then.',
    });
  }
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const period = periodOf(validDays, now);
  const authority = await makeAuthority(directory, period);
  const peers: Peer[] = [
    { role: 'sdn' },
    { role: 'smanager' },
    ...[...new Set(vms)].map((vm): Peer => ({ role: 'sdaemon', vm })),
  ];
  for (const peer of peers) await makeMember(directory, authority, peer, period);
}

async function loadAuthority(directory: string): Promise<Authority> {
  const read = (file: string): string => {
    const path = join(directory, file);
    try {
      return readFileSync(path, 'utf8');
    } catch (cause) {
      throw new ComicranError('pki.invalid', `${path} cannot be read: ${messageOf(cause)}`, {
        cause,
        hint: `Make an authority with 'comicran pki init ${directory} --vm NAME', on the operator's machine.`,
      });
    }
  };
  const certificatePem = read('ca.pem');
  const keyText = read('ca.key');
  try {
    const [pkcs8] = x509.PemConverter.decode(keyText);
    if (pkcs8 === undefined) throw new Error('there is no key in it');
    const key = await webcrypto.subtle.importKey('pkcs8', pkcs8, ALGORITHM, true, ['sign']);
    return { certificate: new x509.X509Certificate(certificatePem), key };
  } catch (cause) {
    throw new ComicranError('pki.invalid', `ca.pem or ca.key in ${directory} is damaged`, { cause });
  }
}

/** Makes certificates for further machines. They end with the authority's own, however many days are asked for. */
export async function addVms(options: PkiOptions): Promise<void> {
  const { directory, vms, validDays = 825, force = false, now = new Date() } = options;
  checkVmNames(vms);
  const authority = await loadAuthority(directory);
  const present = vms.filter((vm) => existsSync(join(directory, `${vm}.pem`)));
  if (!force && present.length > 0) {
    throw new ComicranError('pki.invalid', `${directory} has a certificate of ${present.join(', ')} already`, {
      hint: 'With --force it is replaced; the old one stays good until it expires.',
    });
  }
  const asked = periodOf(validDays, now);
  const { notAfter } = authority.certificate;
  const until = new Date(Math.min(asked.notAfter.getTime(), notAfter.getTime()));
  const period = { notBefore: asked.notBefore, notAfter: until };
  for (const vm of vms) await makeMember(directory, authority, { role: 'sdaemon', vm }, period);
}
