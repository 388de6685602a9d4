# What came of the trials: a bar a row. A block an outcome: its name; then row, from, to (percent). The last block: the
# rows' names. The caller also sets: n (outcomes), rows, left (px), keyrows, title.
load "common.gp"
set lmargin at screen 1.0 * left / wd
set rmargin at screen 1 - 20.0 / wd
set tmargin at screen 1 - (34.0 + 18 * keyrows) / ht
set bmargin at screen 54.0 / ht
set label 1 title at screen 0.5, screen 1 - 14.0 / ht center font ",13"
set xrange [0:100]
set yrange [rows - 0.4:-0.6]
set xlabel "% of trials"
set ytics scale 0 font ",11"
set grid noytics
set key at screen 0.5, screen 1 - 30.0 / ht center top horizontal maxrows keyrows Left reverse samplen 2 font ",11"
# The first is success: a light ground without a pattern.
ground(i) = i == 0 ? 3 : int(word("4 5 2 6 7 1 4 5 2 6 7 1 4 5 2", i)) + 0
shade(i) = i == 0 ? "#b8c4cc" : word("#c44e00 #0072b2 #6e6e6e #00805d #9a4f96 #9a7000", (int(i) - 1) % 6 + 1)
plot for [i=0:n - 1] data index i using 2:1:2:3:($1 - 0.38):($1 + 0.38) with boxxyerror \
        fillstyle pattern ground(i) border lc rgb "#808080" lc rgb shade(i) title columnheader(1), \
    data index n using (0):1:(""):ytic(2) with labels notitle
