import D, { a as b } from "./x";
export * from "./y";
export * as ns from "./z";
/**
 * Adds {@link b}.
 * @param {number} left - One
 * @example
 * add(1)
 */
export declare function add<T>(left: T): T;
export default class C<T> extends D { private x: number; /** M */ m(a?: string): void; get y(): number }
export interface I { /** P */ readonly p?: string; (): void; new (): I; [k: string]: unknown }
export declare enum E { A = 1, B }
export type U = A | { kind: "b" };
declare module "fs" { function read(): void }
export declare namespace N { const z: 1; namespace M { type Q = 2 } }
