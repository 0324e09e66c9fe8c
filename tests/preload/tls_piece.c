/* SPDX-License-Identifier: MIT */
/* A library that takes PIECE bytes of the room for static TLS (dlopened.c), or of a program's. */
__thread char piece[PIECE] __attribute__((tls_model("initial-exec")));

char *piece_here(void)
{
    return piece;
}
