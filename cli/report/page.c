/* SPDX-License-Identifier: MIT */
/*
 * The page, in as much detail as it has room for.
 */
#include "page.h"

/* From the finest to the coarsest. */
static const struct report_quality qualities[] = {
    {1024, 512, 8, 10240, 512, 1024}, {1024, 512, 6, 10240, 512, 1024},
    {1024, 512, 5, 4096, 512, 1024},  {1024, 256, 5, 3072, 512, 1024},
    {512, 256, 5, 2048, 256, 1024},   {512, 128, 4, 1024, 256, 1024},
    {256, 128, 4, 512, 128, 512},     {256, 64, 4, 256, 64, 512},
    {128, 64, 4, 128, 64, 256},       {64, 32, 4, 64, 32, 128},
    {32, 32, 3, 16, 16, 64},
};

bool report_page(const struct report_trace *traces, size_t count, struct report_buffer *page)
{
    for (size_t i = 0; i < sizeof qualities / sizeof qualities[0]; i++) {
        struct report_buffer data = {NULL, 0, 0}, packed = {NULL, 0, 0};
        report_encode(traces, count, &qualities[i], &data);
        report_put_packed(&packed, &data);
        report_put(page, report_page_head, report_page_head_size);
        report_put_base64(page, &packed);
        report_put(page, report_page_tail, report_page_tail_size);
        report_buffer_free(&data);
        report_buffer_free(&packed);
        if (page->count <= REPORT_PAGE_MOST)
            return true;
        page->count = 0;
    }
    return false;
}
