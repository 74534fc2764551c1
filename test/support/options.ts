/** Options of the programs that run tests and measurements. */
import { InvalidArgumentError } from 'commander';

/** @throws InvalidArgumentError, which commander says with the option's name */
export function atLeastOne(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('A whole number from 1 on is wanted.');
  return value;
}
