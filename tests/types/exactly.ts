/**
 * `exactly<T>()(value)` compiles when the type of `value` is T itself: neither wider, nor narrower, nor any.
 *
 * `@ts-expect-error` beside it says that the next line must not compile.
 */

export type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

export declare function exactly<Expected>(): <Actual>(value: Actual, ...same: Same<Expected, Actual> extends true ? [] : [never]) => void;
