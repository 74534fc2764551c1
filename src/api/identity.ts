/** A program's certificate and key, and the authority that it trusts: three PEM files in one directory. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ComicranError, messageOf } from '../base/errors.ts';
import { type Peer, peerName, peerOfShortName } from './names.ts';

export type Identity = {
  readonly peer: Peer;
  /** PEM texts. */
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
};

const NEXT_STEP =
  "Make certificates with 'comicran pki init DIR --vm NAME', and copy ca.pem, NAME.pem and NAME.key of it here.";

function invalid(problem: string, cause?: unknown): ComicranError {
  return new ComicranError('pki.invalid', problem, { hint: NEXT_STEP, cause });
}

function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw invalid(`${path} cannot be read: ${messageOf(cause)}`, cause);
  }
}

/** @param path names the file in errors. */
export function parseCertificate(pem: string, path: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw invalid(`${path} is not a certificate in PEM form`, cause);
  }
}

/** The DNS names in a certificate. */
export function dnsNames(certificate: X509Certificate): string[] {
  const entries = (certificate.subjectAltName ?? '').split(', ');
  return entries.flatMap((entry) => (entry.startsWith('DNS:') ? [entry.slice('DNS:'.length)] : []));
}

function checkPeriod(certificate: X509Certificate, path: string, now: Date): void {
  if (now > certificate.validToDate) throw invalid(`${path} has expired on ${certificate.validTo}`);
  if (now < certificate.validFromDate) {
    throw invalid(`${path} is not valid before ${certificate.validFrom}; is the clock of this machine right?`);
  }
}

/**
 * Reads `ca.pem`, `<name>.pem` and `<name>.key` and checks that they fit together, so that what is wrong is said here and
 * not by a TLS alert on another machine.
 *
 * @param name `sdn`, `smanager`, or a virtual machine's name.
 * @throws ComicranError pki.invalid, naming the file.
 */
export function loadIdentity(directory: string, name: string, now = new Date()): Identity {
  const peer = peerOfShortName(name);
  if (peer === undefined) throw invalid(`'${name}' is neither sdn, smanager, nor the name of a virtual machine`);
  const paths = {
    ca: join(directory, 'ca.pem'),
    certificate: join(directory, `${name}.pem`),
    key: join(directory, `${name}.key`),
  };
  const ca = readPem(paths.ca);
  const certificate = readPem(paths.certificate);
  const key = readPem(paths.key);

  const authority = parseCertificate(ca, paths.ca);
  const own = parseCertificate(certificate, paths.certificate);
  checkPeriod(authority, paths.ca, now);
  checkPeriod(own, paths.certificate, now);
  if (!own.verify(authority.publicKey)) throw invalid(`${paths.certificate} is not signed by the authority in ca.pem`);
  if (!dnsNames(own).includes(peerName(peer))) {
    throw invalid(`${paths.certificate} is for ${dnsNames(own).join(', ') || 'nobody'}, not for ${peerName(peer)}`);
  }
  try {
    if (!own.checkPrivateKey(createPrivateKey(key))) throw new Error('the two do not belong together');
  } catch (cause) {
    throw invalid(`${paths.key} is not the key of ${paths.certificate}`, cause);
  }
  return { peer, ca, certificate, key };
}
