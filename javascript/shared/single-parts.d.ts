/** What the one-file build's page gives to its worker, as the first message: the parts that are no scripts. */
export interface Parts {
  /** gzip, base64 */
  program: string;
  /** Zstandard, base64 */
  pack: string;
  /** base64, by the names that the lock has */
  wheels: Record<string, string>;
}
