# cmake -DNM=nm -DPROGRAM=FILE -P check_twins.cmake: fails if the program refers to an OnCuda overload of a kernel that
# nobody defines. Such references are weak (engine/dispatch.h), so the linker does not say so.
execute_process(COMMAND ${NM} -C --undefined-only ${PROGRAM} OUTPUT_VARIABLE symbols RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "nm cannot read ${PROGRAM}")
endif()
string(REGEX MATCHALL "[^\n]* w [^\n]*ocellus::OnCuda[^\n]*" missing "${symbols}")
if(missing)
  string(REPLACE ";" "\n" missing "${missing}")
  file(REMOVE ${PROGRAM})
  message(FATAL_ERROR "kernels without a CUDA twin (add cuda/kernels/NAME.cu):\n${missing}")
endif()
